"""The Ray engine: classification and features on a cluster."""

__all__: list[str] = []
