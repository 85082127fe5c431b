"""/v1/chat/completions: a conversation in, the assistant's next message out."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from viva.base.errors import Refusal
from viva.serve.schema.common import MOST, Absent, Answer, Asked, Drawn, Finish, Off, Sparse, Usage

ROLES = {"developer": "system"}  # OpenAI's newer name of the same
OF_ONE = {"name": "tool", "tool_call_id": "tool", "reasoning_content": "assistant"}  # fields that one role alone has
SPEAKERS = {"tool": "a tool", "assistant": "the assistant"}
Name = Annotated[str, Field(min_length=1, max_length=256)]


class Part(Asked):
    """A part of a message. Only text: no model of viva reads images or sound in a conversation."""

    type: Literal["text"]
    text: str


class CalledFunction(Asked):
    """The function that was called, with its arguments as JSON text."""

    name: Name
    arguments: str


class AskedCall(Asked):
    """A call that the assistant made before."""

    id: Name
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Asked):
    """Something that was said."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[AskedCall] | None = Field(None, max_length=128)
    tool_call_id: Name | None = Field(None, description="of a message of a tool alone: the call that it answers")
    name: Name | None = Field(None, description="of the tool whose result it is; of others no template tells it")
    reasoning_content: str | None = None
    refusal: Absent = None
    audio: Absent = None
    function_call: Absent = None
    annotations: list[Absent] | None = Field(None, max_length=0)

    @model_validator(mode="after")
    def _told(self) -> Self:
        for field, role in OF_ONE.items():
            if getattr(self, field) is not None and self.role != role:
                message = "{param} is told of {role} alone"
                raise PydanticCustomError("together", message, {"param": field, "role": SPEAKERS[role]})
        return self

    def plain(self) -> dict[str, Any]:
        """As `text/talk/chat.py` takes it: parts joined to one text, the arguments of calls as objects."""
        content = self.content
        told: dict[str, Any] = {
            "role": ROLES.get(self.role, self.role),
            "content": "".join(part.text for part in content) if isinstance(content, list) else content,
            "tool_calls": [_plain(call) for call in self.tool_calls or []] or None,
            "tool_call_id": self.tool_call_id,
            "name": self.name,
            "reasoning_content": self.reasoning_content,
        }
        return {key: value for key, value in told.items() if value is not None}


def _wrong(param: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("together", message, {"param": param})


def _plain(call: AskedCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.function.arguments)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        found = ascii(call.function.arguments)[:80]
        raise Refusal("the arguments of a call must be a JSON object", found, "write it as a string, such as '{}'")
    return {"id": call.id, "type": call.type, "function": {"name": call.function.name, "arguments": arguments}}


class ToolFunction(Asked):
    """A function that may be called; `parameters` is its JSON schema."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="left out, it takes none")
    strict: bool | None = Field(None, description="true with a tool_choice alone that has tools called")

    @property
    def arguments(self) -> dict[str, Any]:
        """The JSON schema of its arguments."""
        return {"type": "object", "additionalProperties": False} if self.parameters is None else self.parameters

    @property
    def takes_object(self) -> bool:
        """Whether its schema lets arguments be an object, as they are."""
        types = self.arguments.get("type", "object")
        return "object" in (types if isinstance(types, list) else [types])


class Tool(Asked):
    """A tool."""

    type: Literal["function"]
    function: ToolFunction


class Called(Asked):
    """A function by its name."""

    name: Name


class ToolChoice(Asked):
    """The tool that a reply must call."""

    type: Literal["function"]
    function: Called


class Schema(BaseModel):
    """A JSON schema by name."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")  # a Config takes no alias

    name: Name
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class Format(Asked):
    """What a reply must be: any text, a JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise PydanticCustomError("together", "json_schema belongs to type json_schema", {"param": "json_schema"})
        return self

    @property
    def schema_wanted(self) -> dict[str, Any] | None:
        """The JSON schema that the reply must match, if any."""
        if self.type == "text":
            return None
        told = self.json_schema and self.json_schema.json_schema
        return {"type": "object"} if told is None else told


class Request(Drawn):
    """What /v1/chat/completions takes."""

    messages: list[Message] = Field(min_length=1, max_length=4096)
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST, description="max_tokens by its newer name")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[Tool] | None = Field(None, min_length=1, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = Field(
        None, description="none leaves the tools out of the prompt; required, or one of them, holds the reply to a call"
    )
    parallel_tool_calls: bool | None = Field(None, description="false holds a reply that must call to one call")
    response_format: Format | None = None
    store: Off | None = None
    service_tier: Literal["auto", "default"] | None = None
    modalities: list[Literal["text"]] | None = None
    metadata: Absent = None
    functions: Absent = None
    function_call: Absent = None
    audio: Absent = None
    prediction: Absent = None
    reasoning_effort: Absent = None
    verbosity: Absent = None
    web_search_options: Absent = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise PydanticCustomError(
                "together", "max_tokens is max_completion_tokens: give one", {"param": "max_tokens"}
            )
        if self.top_logprobs is not None and not self.logprobs:
            raise PydanticCustomError("together", "top_logprobs belongs to logprobs: true", {"param": "top_logprobs"})
        return self

    @model_validator(mode="after")
    def _may_be_called(self) -> Self:
        functions = [tool.function for tool in self.tools or []]
        named = {function.name for function in functions}
        if self.tool_choice == "required" and not named:
            raise _wrong("tool_choice", "required belongs to tools")
        if isinstance(self.tool_choice, ToolChoice) and self.tool_choice.function.name not in named:
            raise _wrong("tool_choice", "must name one of the tools")
        if self._held and (others := self._forming):
            raise _wrong("tool_choice", f"says what form the reply has: leave out {', '.join(others)}")
        for place, function in enumerate(functions):
            if self._held and not function.takes_object:
                raise _wrong(f"tools.{place}.function.parameters", "must be the schema of an object")
            if function.strict and not self._held:
                raise _wrong(
                    f"tools.{place}.function.strict", "is not supported here but with a tool_choice that calls"
                )
        if self.parallel_tool_calls is False and self.tools_wanted and not self._held:
            raise _wrong("parallel_tool_calls", "must be true, but with a tool_choice that calls")
        return self

    @property
    def _held(self) -> bool:
        """Whether the reply is held to a call."""
        return self.tool_choice not in (None, "none", "auto")

    @property
    def _forming(self) -> list[str]:
        """The other fields that say what form, or least length, the reply has."""
        is_json = self.response_format is not None and self.response_format.schema_wanted is not None
        given = {"response_format": is_json, "regex": self.regex, "choice": self.choice, "min_tokens": self.min_tokens}
        return [name for name, value in given.items() if value]

    @property
    def must_call(self) -> list[tuple[str, dict[str, Any]]]:
        wanted = {self.tool_choice.function.name} if isinstance(self.tool_choice, ToolChoice) else None
        functions = [tool.function for tool in self.tools or [] if self._held]
        return [(each.name, each.arguments) for each in functions if wanted is None or each.name in wanted]

    @property
    def may_call_several(self) -> bool:
        return self.tool_choice == "required" and self.parallel_tool_calls is not False

    @property
    def bound(self) -> tuple[str, int | None]:
        """The field that bounds a reply, and how many tokens it allows."""
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return "max_tokens", self.max_tokens

    @property
    def tools_wanted(self) -> list[dict[str, Any]] | None:
        """The tools that the prompt names, as plain objects."""
        if self.tools is None or self.tool_choice == "none":
            return None
        return [tool.model_dump(exclude_none=True) for tool in self.tools]

    def sampling(self) -> dict[str, Any]:
        told = super().sampling()
        if self.logprobs:
            told["logprobs"] = self.top_logprobs or 0
        if self.response_format is not None and (schema := self.response_format.schema_wanted) is not None:
            told["json_schema"] = schema
        return told


class Likely(Answer):
    """A token that might have stood there."""

    token: str
    logprob: float
    bytes: list[int] | None


class Told(Likely):
    """A token with its log-probability and the likeliest ones in its place."""

    top_logprobs: list[Likely]


class Logprobs(Answer):
    """Of each token of a message."""

    content: list[Told]
    refusal: None = None


class MadeFunction(Answer):
    """The function called, with its arguments as JSON text."""

    name: str
    arguments: str


class MadeCall(Answer):
    """A call that the model makes."""

    id: str
    type: Literal["function"] = "function"
    function: MadeFunction


class Said(Sparse):
    """The assistant's message."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[MadeCall] | None = None


class Choice(Answer):
    """One reply."""

    index: int
    message: Said
    logprobs: Logprobs | None = None
    finish_reason: Finish


class Response(Answer):
    """What is answered at once."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class NumberedCall(MadeCall):
    """A call by its place among those of a message."""

    index: int


class Delta(Sparse):
    """What a message grows by."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[NumberedCall] | None = None


class Change(Answer):
    """One reply's change."""

    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: Finish | None = None


class Chunk(Sparse):
    """An event of a stream; `usage` where it was asked for, null but in the last one."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[Change]
    usage: Usage | None = None
