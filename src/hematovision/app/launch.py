"""Starting the page, after a check that its libraries and models are there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress

from hematovision.app.settings import MODELS, Settings
from hematovision.extras import require
from hematovision.model.registry import find_model

__all__ = ["launch"]


def launch(
    settings: Settings,
    environment: Mapping[str, str] | None = None,
    *,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve the page in this process until it is stopped; nothing of it outlives the process.

    Parameters
    ----------
    settings : Settings
    environment : mapping of str to str, optional
        Added to this process's own.
    ready : callable
        Called when it can be reached.

    Returns
    -------
    int
        The exit code; 0 after Ctrl-C.

    Raises
    ------
    MissingExtraError
        If a library of the extra ``app`` is not installed.
    ListeningError
        If the port is taken.
    ModelNotFoundError
        If a model that was given is none.
    """
    require("app")
    os.environ.update(environment or {})
    _use_given_model()
    from hematovision.app.serving import serve

    with suppress(KeyboardInterrupt):
        serve(settings, ready=ready)
    return 0


def _use_given_model() -> None:
    """Put the first model that was given to use, until somebody chooses another."""
    if not os.environ.get(MODELS):
        return
    from hematovision.app.state import library
    from hematovision.review.store import ReviewStore

    models = library()
    first = find_model(os.environ[MODELS].split(os.pathsep)[0])
    with ReviewStore.open() as store:
        models.use(models.find(first.name), store, "--model")
