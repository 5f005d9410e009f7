"""What a ComfyUI server says went wrong, in sentences that name the node, its title, the input and the value."""

from __future__ import annotations

from typing import Any

from .graph import Prompt
from .validate import described

# Types whose name adds nothing to the message of an error that was written for a person.
PLAIN_EXCEPTIONS = {"Exception", "ValueError", "RuntimeError"}
LONGEST_MESSAGE = 2000


class NodeTraceback(Exception):
    """The traceback of a node on the server, kept as the cause of our error so that --traceback shows it."""


def node_name(node_id: str, prompt: Prompt) -> str:
    """A node as a person knows it; of one that came to be while running, only its id is known."""
    return described(node_id, prompt, {}) if node_id in prompt else f"Node {node_id}"


def node_failed(details: dict[str, Any], prompt: Prompt) -> str:
    """The sentence for an execution_error."""
    kind, message = str(details.get("exception_type", "")).rpartition(".")[2], _message_of(details)
    if kind and (kind not in PLAIN_EXCEPTIONS or not message):
        message = f"{kind}: {message}" if message else kind
    return f"{node_name(str(details.get('node_id')), prompt)} failed: {message or 'the server does not say why'}"


def node_blocked(details: dict[str, Any], prompt: Prompt) -> str:
    """The sentence for a node that another one, by what it gave, kept from running."""
    reason = _message_of(details).removeprefix("Execution Blocked: ")
    return f"{node_name(str(details.get('node_id')), prompt)} was kept from running: {reason}"


def _message_of(details: dict[str, Any]) -> str:
    return " ".join(str(details.get("exception_message") or "").split())[:LONGEST_MESSAGE]


def node_traceback(details: dict[str, Any]) -> NodeTraceback | None:
    lines = details.get("traceback")
    return NodeTraceback("on the server:\n" + "".join(map(str, lines))) if isinstance(lines, list) and lines else None


def interrupted(details: dict[str, Any], prompt: Prompt) -> str:
    """The sentence for an execution_interrupted that we did not ask for."""
    return (
        f"{node_name(str(details.get('node_id')), prompt)} was interrupted: somebody cancelled the prompt on the "
        "server, in its browser page perhaps. Queue it again."
    )


def refused(answer: dict[str, Any], prompt: Prompt) -> str:
    """The sentences for a prompt that does not validate, one for each thing to put right."""
    sentences = []
    node_errors = answer.get("node_errors")
    for node_id, found in (node_errors if isinstance(node_errors, dict) else {}).items():
        errors = found.get("errors") if isinstance(found, dict) else None
        for error in errors if isinstance(errors, list) else []:
            if isinstance(error, dict):
                sentences.append(f"{node_name(str(node_id), prompt)}: {_validation_sentence(error)}")
    return "\n".join(dict.fromkeys(sentences)) or _refused_whole(answer.get("error"), prompt)


def _refused_whole(error: Any, prompt: Prompt) -> str:
    """The sentence for a refusal that concerns no input of a node."""
    if not isinstance(error, dict):
        return f"The server refuses the workflow: {error or 'it does not say why'}."
    found = error.get("extra_info")
    extra: dict[str, Any] = found if isinstance(found, dict) else {}
    if error.get("type") == "missing_node_type":
        name = node_name(str(extra.get("node_id")), prompt)
        return f"{name} has a type that the server does not know. Install the pack that brings it on the server."
    if error.get("type") == "prompt_no_outputs":
        return "The workflow has no node that saves or shows anything, so there is nothing to run. Add one."
    return f"The server refuses the workflow: {_joined(error)}."


def _validation_sentence(error: dict[str, Any]) -> str:
    found = error.get("extra_info")
    extra: dict[str, Any] = found if isinstance(found, dict) else {}
    name, value = extra.get("input_name"), extra.get("received_value")
    config = extra.get("input_config")
    options = config[1] if isinstance(config, list) and len(config) > 1 and isinstance(config[1], dict) else {}
    kind = error.get("type")
    if kind == "required_input_missing":
        return f'the input "{name}" is missing. Link it, or give it a value.'
    if kind == "value_smaller_than_min":
        return f"{name} is {value}, less than the least allowed, {options.get('min')}."
    if kind == "value_bigger_than_max":
        return f"{name} is {value}, more than the most allowed, {options.get('max')}."
    if kind == "value_not_in_list":
        return f"{name} is {value!r}, which is not among the server's choices{_choices(config)}."
    if kind == "return_type_mismatch":
        wanted = config[0] if isinstance(config, list) and config else "another type"
        return f"{name} takes {wanted}, but the node linked to it gives {extra.get('received_type')}."
    return f"{_joined(error)}."


def _choices(config: Any) -> str:
    """The choices of a combo as the server lists them; it leaves out long lists."""
    if not isinstance(config, list) or not config:
        return ""
    options = config[0]
    if not isinstance(options, list):
        options = config[1].get("options") if len(config) > 1 and isinstance(config[1], dict) else None
    if not isinstance(options, list):
        return ""
    return ": " + ", ".join(map(repr, options)) if options else ", as it has none"


def _joined(error: dict[str, Any]) -> str:
    message, details = (" ".join(str(error.get(key) or "").split()) for key in ("message", "details"))
    return (f"{message}: {details}" if details and details != message else message)[:LONGEST_MESSAGE].rstrip(". ")
