"""``/v1/analyze``: takes fields in forms; returns the rows of ``hematovision analyze``."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from hematovision.errors import RequestError
from hematovision.fields.checkpoint import Demand
from hematovision.fields.edges import EdgeRule
from hematovision.fields.rows import CellRow
from hematovision.fields.scale import Scale, given_scale
from hematovision.fields.slides import FileAnalyzer
from hematovision.model.inference import predict_image
from hematovision.server.classify import (
    FORM,
    LENIENT,
    ModelNamed,
    Values,
    check_single,
    name_model,
    read_items,
)
from hematovision.server.engine import Engine
from hematovision.server.models import LoadedModel

__all__ = ["Analysed", "analyze_routes"]

_EDGES = "Which cells at the border count: those at the top and left (two), none, or all."


class Analysed(BaseModel):
    """The rows of all files, in order: one per field, and one per cell."""

    request_id: str
    model: ModelNamed
    fields: list[Values]
    cells: list[Values]


def analyze_routes(engine: Engine, problems: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Return the route ``/v1/analyze``.

    `problems` are the OpenAPI descriptions of the error responses.
    """
    router = APIRouter(prefix="/v1", tags=["analyze"])

    @router.post("/analyze", response_model=Analysed, responses=problems, openapi_extra=FORM)
    async def analyze(
        request: Request,
        model: Annotated[str | None, Query(description="A detector of /v1/models.")] = None,
        edges: Annotated[EdgeRule, Query(description=_EDGES)] = "two",
        rbc_diameter: Annotated[
            float | None, Query(description="Width of a red cell in pixels; measured by default.")
        ] = None,
        um_per_px: Annotated[
            float | None, Query(description="Micrometres per pixel; measured by default.")
        ] = None,
        lenient: Annotated[bool, Query(description=LENIENT)] = False,  # noqa: FBT002 - of the query
    ) -> JSONResponse:
        """Find, classify and count the cells of fields, in parts named `files`."""
        served = engine.models.get_detector(model)
        scale = _scale(rbc_diameter, um_per_px)
        items = await read_items(request, engine)
        with Demand() as demand:
            analyzer = _configured(served, edges, scale, demand)
            results = await engine.queue.run([partial(predict_image, analyzer, i) for i in items])
        engine.metrics.predictions(served.name, results)
        if not lenient:
            check_single(results)
        rows = [row.of for result in results for row in result.rows]
        response = Analysed(
            request_id=request.state.request_id,
            model=name_model(served),
            fields=[row.values() for row in rows if not isinstance(row, CellRow)],
            cells=[row.values() for row in rows if isinstance(row, CellRow)],
        )
        return JSONResponse(response.model_dump())

    return router


def _scale(rbc_diameter: float | None, um_per_px: float | None) -> Scale | None:
    """Return the scale that a request states, or None."""
    try:
        return given_scale(rbc_diameter=rbc_diameter, um_per_px=um_per_px)
    except ValueError as error:
        raise RequestError("broken", str(error)) from error


def _configured(
    served: LoadedModel, edges: EdgeRule, scale: Scale | None, demand: Demand
) -> FileAnalyzer:
    """Return a detector's analyzer with the settings of one request, until its end.

    A field may take long: the analysis stops soon after the request has timed out, or its client
    has disconnected.
    """
    assert isinstance(served.predictor, FileAnalyzer)
    base = served.predictor.analyzer
    return FileAnalyzer(base.configured(scale=scale, edges=edges, checkpoint=demand.check))
