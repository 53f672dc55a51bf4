"""The door to a cluster: the same answers and features, computed by Ray on many machines."""

__all__: list[str] = []
