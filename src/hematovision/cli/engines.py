"""``features``, and the options of all commands with ``--engine``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hematovision.cli.datasets import DatasetArgument, SeedOption, TaxonomyOption
from hematovision.cli.progress_bar import progress_bar
from hematovision.cli.terminal import echo, exit_if_refused, show_next
from hematovision.plurals import counted

if TYPE_CHECKING:
    from hematovision.workflows.classify import ClassifySummary

__all__ = [
    "EngineOption", "RayAddressOption", "classify_on_ray", "features", "refuse_cluster_options",
]  # fmt: skip

EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Run on this machine (local) or on a Ray cluster (ray)."),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of the Ray cluster. Default: RAY_ADDRESS, or Ray on this machine only.",
    ),
]


def features(
    dataset: DatasetArgument,
    *,
    weights: Annotated[
        str, typer.Option(metavar="WEIGHTS", help="hematology, imagenet, or a Keras file.")
    ] = "hematology",
    taxonomy: TaxonomyOption = None,
    seed: SeedOption = 0,
    engine: EngineOption = "local",
    ray_address: RayAddressOption = None,
) -> None:
    """Compute the image features for training ahead of time.

    Training with the same dataset, weights, taxonomy and seed then takes seconds. Cached features
    are not computed again: re-run the command to resume an interrupted run.
    """
    if engine == "ray":
        from hematovision.scale.cluster import Cluster
        from hematovision.scale.features import features_on_cluster

        with progress_bar() as progress:
            found = features_on_cluster(
                dataset,
                taxonomy=taxonomy,
                weights=weights,
                seed=seed,
                cluster=Cluster(ray_address),
                progress=progress,
            )
    else:
        refuse_cluster_options((), ray_address)
        from hematovision.workflows.features import compute_features

        with progress_bar() as progress:
            found = compute_features(
                dataset, taxonomy=taxonomy, weights=weights, seed=seed, progress=progress
            )
    echo(
        f"{counted(found.images, 'image')}, {counted(found.rows, 'view')}: {found.computed} "
        f"computed, the rest already cached. Cache: {found.cache}"
    )
    show_next("train", dataset, "--out", "RUN")
    exit_if_refused(found.refused)


def classify_on_ray(
    paths: list[str], *, model: str, out: str | None, resume: bool, ray_address: str | None
) -> ClassifySummary:
    """Classify on a cluster.

    Raises `typer.BadParameter` if `out` cannot be a folder.
    """
    if out is None or out.lower().endswith((".csv", ".jsonl")):
        raise typer.BadParameter(
            "with --engine ray, it must be a new folder that all nodes can write to.",
            param_hint="--out",
        )
    from hematovision.scale.classify import classify_on_cluster
    from hematovision.scale.cluster import Cluster

    with progress_bar() as progress:
        return classify_on_cluster(
            paths,
            out=out,
            model=model,
            resume=resume,
            cluster=Cluster(ray_address),
            progress=progress,
        )


def refuse_cluster_options(paths: Iterable[str], ray_address: str | None) -> None:
    """Raise a `typer.BadParameter` if an option or address needs a cluster."""
    if ray_address is not None:
        raise typer.BadParameter("this option needs --engine ray.", param_hint="--ray-address")
    for path in paths:
        if "://" in path:
            raise typer.BadParameter(
                f"{path} is a URL; reading it needs --engine ray, which also runs on a single "
                "machine.",
                param_hint="PATH",
            )
