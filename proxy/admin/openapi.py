"""The description of the admin API (OpenAPI 3.1); a test compares it with the routes."""

from importlib.metadata import version
from typing import Any

from proxy.admin.history import By
from proxy.intel.exports import FORMATS
from proxy.plugins.events import schemas


def _answer(text: str, kind: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {kind: {}}}


# What proxy/admin/access.py answers, whatever was asked.
_REFUSALS = {
    "401": _answer("HKPGUARD_ADMIN_TOKEN is set, and not given"),
    "403": _answer("a web page of another host asks, or under a name that is not this host's"),
}


def _get(
    summary: str, answers: dict[str, Any], parameters: list[dict[str, Any]] | None = None, *, open_to_all: bool = False
) -> dict[str, Any]:
    refusals = {"403": _REFUSALS["403"]} if open_to_all else _REFUSALS
    operation = {"summary": summary, "parameters": parameters or [], "responses": {**answers, **refusals}}
    return {"get": operation | ({"security": []} if open_to_all else {})}


def _most(highest: int, default: int) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": highest, "default": default}
    return {"name": "most", "in": "query", "schema": schema}


def _in_path(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": text}


def _body(properties: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as JSON Schema has it
    """Return the body that a request has to have: one object, with nothing else in it."""
    schema = {"type": "object", "additionalProperties": False, "properties": properties, **more}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


_NETWORK = "an address (of IPv6: its /64), or a network: IPv4 /24 or /32, IPv6 /64, /56 or /48"
_BAN_BODY = _body(
    {
        "network": {"type": "string", "description": _NETWORK},
        "seconds": {"type": "integer", "minimum": 1, "maximum": 31_536_000},
        "reason": {"type": "string", "maxLength": 200, "default": ""},
    },
    required=["network"],
)
_BAN = {
    "summary": "Ban a client or network; without `seconds` as long as the first rung of the ladder",
    "requestBody": _BAN_BODY,
    "responses": {
        "201": _answer("the ban, and warnings"),
        "400": _answer("the body is not as it should be"),
        "409": _answer("it is, or holds, an address that is never banned"),
        "415": _answer("the body is not application/json"),
        "503": _answer("there are too many bans"),
        **_REFUSALS,
    },
}
_UNBAN = {
    "summary": "End all bans of a client or network and of what is in it; forget points and rungs",
    "parameters": [_in_path("network", _NETWORK)],
    "responses": {
        "200": _answer("the bans that were lifted, and the one that still keeps it out"),
        "400": _answer("not a network"),
        "404": _answer("not banned"),
        **_REFUSALS,
    },
}
_NAME = _in_path("name", "of a plugin")
_NO_PLUGIN = {"404": _answer("no plugin of this name is installed")}
_CHANGED = {
    "200": _answer("the plugin as it is now"),
    "409": _answer("it cannot be so, and is as it was"),
    **_NO_PLUGIN,
    **_REFUSALS,
}
_CHANGE_BODY = _body(
    {
        "settings": {
            "type": "object",
            "description": "HKPGUARD_PLUGINS__<NAME>__<SETTING> in lower case, such as mode",
            "additionalProperties": {"type": "string"},
        }
    }
)
_CHANGE = {
    "summary": "Set a plugin otherwise, until the configuration is read again",
    "parameters": [_NAME],
    "requestBody": _CHANGE_BODY,
    "responses": {"400": _answer("the body is not as it should be"), **_CHANGED},
}
_RELOAD = {
    "summary": "Begin a plugin anew, from the code that is installed now; the old one stays if that fails",
    "parameters": [_NAME],
    "responses": _CHANGED,
}
_KINDS = {
    "name": "kind",
    "in": "query",
    "schema": {"type": "array", "items": {"type": "string"}, "default": ["*"]},
    "description": "ban.placed, ban.* or *; of several each counts",
}
_BY = {"name": "by", "in": "query", "schema": {"type": "string", "enum": [*By], "default": By.CLIENT}}
_LAST = {
    "name": "Last-Event-ID",
    "in": "header",
    "schema": {"type": "string"},
    "description": "begin with the events after this one that are still kept; all of them if it is not known",
}

_REPORT_BODY = _body(
    {
        "network": {"type": "string", "description": "an address, or the /64 of one in IPv6"},
        "seconds": {"type": "integer", "minimum": 1, "maximum": 604_800, "default": 21_600},
        "reason": {"type": "string", "maxLength": 200, "default": ""},
    },
    required=["network"],
)
_REPORT = {
    "summary": "Report a client; it counts when another reporter, or evidence of this node, agrees",
    "security": [{"reporter": []}],
    "requestBody": _REPORT_BODY,
    "responses": {
        "202": _answer("whether it was `noted`, or somebody has `agreed`"),
        "400": _answer("the body is not as it should be"),
        "401": _answer("a token of HKPGUARD_INTEL__REPORTERS_FILE is wanted"),
        "403": _REFUSALS["403"],
        "409": _answer("it is an address that nobody may report"),
        "415": _answer("the body is not application/json"),
        "429": _answer("the reporter reports too much"),
    },
}
_BOUNCER_REFUSED = {"403": _answer("the key of a bouncer is wanted (HKPGUARD_INTEL__BOUNCERS_FILE)")}
_DECISIONS = {
    "summary": "Bans in force, as the local API of CrowdSec tells them to bouncers",
    "security": [{"bouncer": []}],
    "parameters": [
        {"name": "startup", "in": "query", "schema": {"type": "boolean", "default": False}},
        {"name": "scopes", "in": "query", "schema": {"type": "string", "default": "ip,range"}},
    ],
    "responses": {"200": _answer("what is new and what is deleted since it asked last"), **_BOUNCER_REFUSED},
}
_USAGE = {
    "summary": "Figures of bouncers, which are thrown away",
    "security": [{"bouncer": []}],
    "responses": {"201": {"description": "taken"}, "415": _answer("not application/json"), **_BOUNCER_REFUSED},
}
_NO_CLUSTER = {"404": _answer("this node stands alone")}


def _release(summary: str, **body: dict[str, Any]) -> dict[str, Any]:
    """Return what makes a release for all nodes; `requestBody` if it needs one."""
    return {
        "summary": summary,
        "responses": {
            "200": _answer("in force on all nodes; how each of them voted"),
            "400": _answer("the body is not as it should be"),
            "409": _answer("a node has refused it, or was silent, or nobody could be asked; nothing has changed"),
            "415": _answer("the body is not application/json"),
            "503": _answer("the store was out of reach"),
            **_NO_CLUSTER,
            **_REFUSALS,
        },
        **body,
    }


_POLICY_BODY = _body(
    {"text": {"type": "string", "description": "TOML; empty: each node has its own settings again"}}, required=["text"]
)
_MODELS_BODY = _body(
    {
        "files": {
            "type": "object",
            "description": "files in base64 by their names; none: each node has its own models again",
            "additionalProperties": {"type": "string", "contentEncoding": "base64"},
            "maxProperties": 16,
        }
    },
    required=["files"],
)
_BLOCKLIST = _get(
    "Bans in force, for programs that drop early",
    {
        "200": {
            "description": "the list",
            "content": {"text/plain": {}, "application/stix+json": {}},
        },
        "400": _answer("no such format"),
    },
    [{"name": "format", "in": "query", "schema": {"type": "string", "enum": [*FORMATS], "default": "plain"}}],
)
_BLOCKLIST["get"]["security"] = [{"token": []}, {"bouncer": []}]

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "hkpguard admin API", "version": version("hkpguard")},
    "components": {
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer"},
            "reporter": {"type": "http", "scheme": "bearer"},
            "bouncer": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        },
        "schemas": schemas(),  # of the data of each kind of event
    },
    "security": [{"token": []}],
    "paths": {
        "/healthz": _get("The process is alive", {"200": _answer("alive", "text/plain")}, open_to_all=True),
        "/readyz": _get(
            "The node should get traffic",
            {"200": _answer("ready", "text/plain"), "503": _answer("not ready, and why", "text/plain")},
            open_to_all=True,
        ),
        "/metrics": _get("Prometheus metrics", {"200": _answer("exposition", "text/plain")}),
        "/api/v1/clients/{address}": _get(
            "State of each limit of a client, its ban and offences, its connections turned away, and its last verdicts",
            {"200": _answer("the client"), "400": _answer("not an address")},
            [_in_path("address", "IPv4 or IPv6")],
        ),
        "/api/v1/top": _get(
            "Busiest clients, networks or subjects lately, and clients that were turned away most often",
            {
                "200": _answer("`clients` and `operations`, or `networks`, or `subjects`, each told by a keyed hash"),
                "400": _answer("most is no number, or by no such word"),
            },
            [_most(100, 20), _BY],
        ),
        "/api/v1/bans": _get(
            "Bans in force, the most recent first",
            {"200": _answer("bans, and how many by origin"), "400": _answer("most is no number")},
            [_most(1000, 100)],
        )
        | {"post": _BAN},
        "/api/v1/bans/{network}": {"delete": _UNBAN},
        "/api/v1/tarpit": _get(
            "Clients that are or were held in the tarpit, and what they sent, the most recent first",
            {"200": _answer("captives"), "400": _answer("most is no number")},
            [_most(1000, 100)],
        ),
        "/api/v1/events": _get(
            "Events as they happen, as server-sent events; their data is described under components",
            {
                "200": _answer("events", "text/event-stream"),
                "400": _answer("not kinds of events"),
                "503": _answer("there are too many listeners"),
            },
            [_KINDS, _LAST],
        ),
        "/api/v1/plugins": _get("Plugins, those that are off among them", {"200": _answer("plugins")}),
        "/api/v1/plugins/{name}": _get("One plugin", {"200": _answer("the plugin"), **_NO_PLUGIN}, [_NAME])
        | {"patch": _CHANGE},
        "/api/v1/plugins/{name}/reload": {"post": _RELOAD},
        "/api/v1/plugins/{name}/routes/{route}": _get(
            "What a plugin answers",
            {
                "200": _answer("as the plugin has it"),
                "404": _answer("it does not run, or has no such route"),
                "503": _answer("it is broken, or too slow"),
            },
            [_NAME, _in_path("route", "as the plugin has it")],
        ),
        "/api/v1/cluster": _get(
            "The nodes of the cluster", {"200": _answer("nodes, as this one sees them"), **_NO_CLUSTER}
        ),
        "/api/v1/cluster/policy": _get(
            "The policy of the cluster", {"200": _answer("what is in force, and on which nodes"), **_NO_CLUSTER}
        )
        | {
            "post": _release(
                "Have all nodes try settings, and put them in force on all or on none", requestBody=_POLICY_BODY
            )
        },
        "/api/v1/cluster/policy/rollback": {"post": _release("Release the policy before")},
        "/api/v1/cluster/models": _get(
            "The models of the cluster", {"200": _answer("what is in force, and on which nodes"), **_NO_CLUSTER}
        )
        | {
            "post": _release(
                "Have all nodes verify models, and put them in force on all or on none", requestBody=_MODELS_BODY
            )
        },
        "/api/v1/cluster/models/rollback": {"post": _release("Release the models before")},
        "/api/v1/intel/reports": {"post": _REPORT},
        "/api/v1/intel/blocklist": _BLOCKLIST,
        "/api/v1/intel/{address}": _get(
            "What feeds and reporters say of an address, and what follows",
            {"200": _answer("what is known"), "400": _answer("not an address")},
            [_in_path("address", "IPv4 or IPv6")],
        ),
        "/v1/decisions/stream": {"get": _DECISIONS},
        "/v1/usage-metrics": {"post": _USAGE},
        "/api/v1/openapi.json": _get("This document", {"200": _answer("OpenAPI")}),
    },
}
