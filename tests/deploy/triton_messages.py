"""The part of Triton's model_config.proto that a configuration here may use, as protobuf reads it.

Names, labels and types are those of `inference.ModelConfig` as tritonclient 2.73 has them; the text form knows no field
numbers, so that theirs do not matter. What is not here is refused by the parser.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

_Field = descriptor_pb2.FieldDescriptorProto
_STRING, _INT32, _INT64 = _Field.TYPE_STRING, _Field.TYPE_INT32, _Field.TYPE_INT64

ENUMS = {
    "DataType": ["TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_FP16", "TYPE_FP32", "TYPE_BF16"],
    "Kind": ["KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"],
}
#: Fields by message; `*` stands for repeated.
MESSAGES: dict[str, dict[str, Any]] = {
    "Tensor": {"name": _STRING, "data_type": "DataType", "dims*": _INT64},
    "InstanceGroup": {"name": _STRING, "kind": "Kind", "count": _INT32, "gpus*": _INT32},
    "Parameter": {"string_value": _STRING},
    "FileEntry": {"key": _STRING, "value": _STRING},
    "ParameterEntry": {"key": _STRING, "value": "Parameter"},
    "ModelConfig": {
        "name": _STRING,
        "platform": _STRING,
        "backend": _STRING,
        "max_batch_size": _INT32,
        "input*": "Tensor",
        "output*": "Tensor",
        "instance_group*": "InstanceGroup",
        "default_model_filename": _STRING,
        "cc_model_filenames*": "FileEntry",
        "parameters*": "ParameterEntry",
    },
}


def parse(text: str) -> Any:
    """A `ModelConfig`; protobuf's ParseError for what is none."""
    return text_format.Parse(text, _class()())


def _class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="test", syntax="proto3")
    for name, values in ENUMS.items():
        made = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            made.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            label = _Field.LABEL_REPEATED if field.endswith("*") else _Field.LABEL_OPTIONAL
            added = message.field.add(name=field.rstrip("*"), number=number, label=label)
            if isinstance(kind, str):
                added.type = _Field.TYPE_ENUM if kind in ENUMS else _Field.TYPE_MESSAGE
                added.type_name = f".test.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.ModelConfig"))
