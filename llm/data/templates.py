"""Chat templates by name. They are written from the published prompt formats of the two models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spac_theory.checks import InputError

# Mistral-7B-Instruct: https://docs.mistral.ai (instruct format, v1): <s>[INST] question [/INST]
# answer</s>. A system message is put in front of the first question.
MISTRAL = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] + '\\n\\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)

# Zephyr-7B (Tunstall et al., 2023, arXiv 2310.16944): <|role|>\ncontent</s>\n for every turn.
ZEPHYR = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)

TEMPLATES = {"mistral": MISTRAL, "zephyr": ZEPHYR}


def source(name: str | None) -> str | None:
    """The text of the template `name` (None: the tokenizer's own); refuses an unknown one."""
    if name is None or name in TEMPLATES:
        return TEMPLATES.get(name or "")
    if name.endswith(".jinja") and Path(name).is_file():
        return Path(name).read_text(encoding="utf-8")
    raise InputError(
        f"data.chat_template is {name!r}; it must be null (the tokenizer's own), "
        f"{', '.join(sorted(TEMPLATES))}, or an existing .jinja file."
    )


def install(tokenizer: Any, name: str | None) -> Any:
    """Give `tokenizer` the template `name` (None keeps its own), or a `.jinja` file's."""
    if name is not None:
        tokenizer.chat_template = source(name)
    return tokenizer


def check(tokenizer: Any) -> Any:
    """Refuse a tokenizer without end-of-sequence, and a template that is broken or writes today's date."""
    if tokenizer.eos_token_id is None:
        raise InputError(
            "The tokenizer has no end-of-sequence token, so no answer could ever end; set its "
            "eos_token in tokenizer_config.json."
        )
    if "strftime_now" in (tokenizer.chat_template or ""):
        raise InputError(
            "The tokenizer's chat template writes today's date, so the same rows would differ "
            "tomorrow; save it as a .jinja file with a fixed date and name that in data.chat_template."
        )
    if tokenizer.chat_template:
        _try(tokenizer)
    return tokenizer


def _try(tokenizer: Any) -> None:
    """Write one turn with the template; whatever its text raises, it is the template that is wrong."""
    turn = [{"role": "user", "content": "Hello."}]
    try:
        tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    except Exception as error:
        told = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"The tokenizer's chat template cannot write a user's turn ({type(error).__name__}: {told}); "
            "mend it, or name another in data.chat_template."
        ) from error
