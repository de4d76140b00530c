"""JSON Schema of the configuration files, for editors and other programs: made of the typed models, never by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from psdbatch.config.campaign import CampaignConfig
from psdbatch.config.commented import described
from psdbatch.config.section import Section
from psdbatch.config.training import TrainingConfig
from psdbatch.units import say_bytes, say_nanoseconds, say_seconds

FILES: dict[str, type[Section]] = {"campaign": CampaignConfig, "training": TrainingConfig}
"""The configuration files by their names; a training set is the ``[set]`` of ``training.toml``."""

SAY: dict[str, Callable[[Any], str]] = {"s": say_seconds, "ns": say_nanoseconds, "B": say_bytes}
"""How a quantity is written in a configuration file, by the unit that psdbatch counts in."""


def configuration_schema(name: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the configuration file ``name.toml``.

    It knows keys, kinds, units, limits and defaults; what concerns several keys at once only psdbatch itself sees.
    """
    schema = FILES[name].model_json_schema(schema_generator=_TomlSchema)
    for section in (schema, *schema["$defs"].values()):
        section["description"] = section["description"].replace("``", "`")  # editors show Markdown
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:psdbatch:schema:{name}",
        **schema,
        "title": f"{name}.toml of psdbatch",
    }


def settings_facts(section: type[BaseModel]) -> list[dict[str, Any]]:
    """Key, default and meaning of each setting of a section that stands in no configuration file's schema."""
    entries = section.model_json_schema(schema_generator=_TomlSchema)["properties"]
    return [
        {"key": name, "default": field.get_default(call_default_factory=True), "meaning": described(entries[name])}
        for name, field in section.model_fields.items()
    ]


class _TomlSchema(GenerateJsonSchema):
    """As users write TOML: no null, quantities with their units, and no defaults that repeat those of a section."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # the key in capitals says nothing

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        made = self.generate_inner(schema["schema"])  # TOML has no null: a key is left out
        return {**made, "x-optional": True} if "$ref" in made else made  # an absent section is not an empty one

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        default = schema["default_factory"]() if "default_factory" in schema else schema.get("default")  # type: ignore[call-arg]
        if isinstance(default, BaseModel):  # the section has its own defaults; only what differs here is said
            default = default.model_dump(mode="json", exclude_unset=True) or None
        if default is None:
            made.pop("default", None)
        elif "x-unit" in made:
            made["default"] = SAY[made["x-unit"]](default)
        elif isinstance(default, dict):
            made["default"] = default
        return made
