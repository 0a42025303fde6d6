"""Configurations that several tests share."""

from __future__ import annotations

from actors.config.deidentify import Category, Deidentify, Language, Policy

SECRET = b"a secret of tests, not of anybody"


def everything(*languages: Language) -> Deidentify:
    """Every category is masked."""
    return Deidentify(preset="strict", languages=languages or ("en",), countries=("US", "ES", "DE"))


def surrogates(*languages: Language, **more: object) -> Deidentify:
    """Surrogates where they are possible, dates shifted."""
    policies = dict.fromkeys(Category, Policy.SURROGATE) | {
        Category.DATE: Policy.SHIFT,
        Category.AGE: Policy.GENERALISE,
    }
    return Deidentify.model_validate(
        {"policies": policies, "languages": languages or ("en",), **more}
    )
