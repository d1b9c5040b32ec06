"""Reads a KServe manifest into the package's own classes: check_manifest.py FILE; fails on a field that none has."""

import json
import sys

import kserve
import yaml
from kubernetes import client


def read(type_name, value):
    if type_name.startswith("list["):
        return [read(type_name[5:-1], x) for x in value]
    if type_name.startswith("dict("):
        return value
    kind = getattr(kserve, type_name, None) or getattr(client, type_name, None)
    if kind is None or not hasattr(kind, "openapi_types"):
        if type_name in ("str", "int", "bool") and type(value).__name__ != type_name:
            raise TypeError(f"{value!r} is not {type_name}")
        return value
    fields = {json_name: name for name, json_name in kind.attribute_map.items()}
    unknown = set(value) - set(fields)
    if unknown:
        raise TypeError(f"{type_name} has no {sorted(unknown)}")
    return kind(**{fields[key]: read(kind.openapi_types[fields[key]], x) for key, x in value.items()})


with open(sys.argv[1]) as file:
    service = read("V1beta1InferenceService", yaml.safe_load(file))
predictor = service.spec.predictor
print(
    json.dumps(
        {
            "name": service.metadata.name,
            "runtime": predictor.model.runtime,
            "replicas": [predictor.min_replicas, predictor.max_replicas],
            "scale": [predictor.scale_metric, predictor.scale_target],
        }
    )
)
