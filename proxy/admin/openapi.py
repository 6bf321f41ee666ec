"""The description of the admin API (OpenAPI 3.1); a test compares it with the routes."""

from importlib.metadata import version
from typing import Any


def _answer(text: str, kind: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {kind: {}}}


def _get(summary: str, answers: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": answers}}


_ADDRESS = {"name": "address", "in": "path", "required": True, "schema": {"type": "string"}}
_MOST = {
    "name": "most",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
}

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "hkpguard admin API", "version": version("hkpguard")},
    "paths": {
        "/healthz": _get("The process is alive", {"200": _answer("alive", "text/plain")}),
        "/readyz": _get(
            "The node should get traffic",
            {"200": _answer("ready", "text/plain"), "503": _answer("not ready, and why", "text/plain")},
        ),
        "/metrics": _get("Prometheus metrics", {"200": _answer("exposition", "text/plain")}),
        "/api/v1/clients/{address}": _get(
            "State of each limit of a client, and its last verdicts",
            {"200": _answer("the client"), "400": _answer("not an address")},
            [_ADDRESS],
        ),
        "/api/v1/top": _get(
            "Busiest clients of the last minute",
            {"200": _answer("clients and operations"), "400": _answer("most is no number")},
            [_MOST],
        ),
        "/api/v1/openapi.json": _get("This document", {"200": _answer("OpenAPI")}),
    },
}
