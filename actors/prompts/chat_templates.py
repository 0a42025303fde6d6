"""Chat templates by name, equivalent to llama.cpp's templates of the same names.

No BOS is printed: the tokenizer adds it if the model requires one.
"""

from __future__ import annotations

_TURNS = "{%% for m in messages %%}%s{%% endfor %%}{%% if add_generation_prompt %%}%s{%% endif %%}"


def _every_turn(turn: str, answer: str) -> str:
    return _TURNS % (turn, answer)


def _inst(opening: str, closing: str, system: str) -> str:
    """The [INST] family: the system prompt is inside the first user turn."""
    return (
        "{% set ns = namespace(open=false) %}{% for m in messages %}"
        "{% if m.role == 'assistant' %}{{ ' ' + m.content + '</s>' }}{% set ns.open = false %}"
        "{% else %}{% if not ns.open %}{{ '" + opening + "' }}{% set ns.open = true %}{% endif %}"
        "{% if m.role == 'system' %}{{ " + system + " }}"
        "{% else %}{{ m.content + '" + closing + "' }}{% endif %}{% endif %}{% endfor %}"
    )


NAMED = {
    "chatml": _every_turn(
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}",
        "{{ '<|im_start|>assistant\n' }}",
    ),
    "llama2": _inst("[INST] ", " [/INST]", r"'<<SYS>>\n' + m.content + '\n<</SYS>>\n\n'"),
    "llama3": _every_turn(
        "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
        "{{ m.content | trim + '<|eot_id|>' }}",
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
    ),
    "gemma": (
        "{% set ns = namespace(system='') %}{% for m in messages %}"
        "{% if m.role == 'system' %}{% set ns.system = m.content | trim + '\n\n' %}{% else %}"
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
        "{{ ns.system + (m.content | trim) + '<end_of_turn>\n' }}{% set ns.system = '' %}"
        "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    "mistral-v1": _inst(" [INST] ", " [/INST]", r"m.content + '\n\n'"),
    "mistral-v3": _inst("[INST] ", "[/INST]", r"m.content + '\n\n'"),
    "phi3": _every_turn(
        "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}", "{{ '<|assistant|>\n' }}"
    ),
    "zephyr": _every_turn(
        "{{ '<|' + m.role + '|>\n' + m.content + '<|endoftext|>\n' }}", "{{ '<|assistant|>\n' }}"
    ),
    "vicuna": _every_turn(
        "{% if m.role == 'system' %}{{ m.content + '\n\n' }}"
        "{% elif m.role == 'user' %}{{ 'USER: ' + m.content + '\n' }}"
        "{% else %}{{ 'ASSISTANT: ' + m.content + '</s>\n' }}{% endif %}",
        "{{ 'ASSISTANT:' }}",
    ),
    "none": "{% for m in messages %}{{ m.content }}{% endfor %}",
}
NAMED["mistral"] = NAMED["mistral-v3"]
