"""Requests made from the server's own OpenAPI document, right ones and wrong ones: none is answered 5xx."""

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

POSTS = {"POST /v1/chat/completions": "tiny", "POST /v1/completions": "tiny", "POST /v1/embeddings": "vectors"}
GETS = ["GET /v1/models", "GET /v1/models/{name}", "GET /health", "GET /ready", "GET /metrics"]
UNTOLD = [positive_data_acceptance]  # no schema says that a conversation must make sense, or fit the context
SLOW = [hypothesis.HealthCheck.too_slow]
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def operations(server):
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found = [made.ok() for made in document.get_all_operations()]
    return {operation.label: operation for operation in found}


def test_all_routes_are_in_the_document(operations):
    assert sorted(operations) == sorted([*POSTS, *GETS])


@pytest.mark.parametrize(
    ("route", "mode"), [(r, m) for r in POSTS for m in (RIGHT, WRONG)] + [(r, RIGHT) for r in GETS]
)
def test_no_request_breaks_the_server(server, operations, route, mode):
    """Answers have the status, the type and the form that the document tells, and wrong requests are told so."""

    @hypothesis.settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW)
    @hypothesis.given(case=operations[route].as_strategy(generation_mode=mode), sound=strategies.booleans())
    def ask(case, sound):
        if mode is RIGHT and isinstance(case.body, dict):
            case.body["model"] = POSTS[route]  # any other name is answered 404
            if sound and "messages" in case.body:
                case.body["messages"] = [{"role": "user", "content": "hi"}]
        answer = case.call(timeout=30)
        assert answer.status_code < 500, answer.text
        case.validate_response(answer, excluded_checks=UNTOLD)

    ask()
    server.settle()
