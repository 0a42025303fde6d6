"""cluster.yaml is one that Ray's own launcher accepts."""

from __future__ import annotations

import yaml
from support import ROOT


def test_ray_accepts_it() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    validate_config(prepare_config(config))
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"] == {"CPU": 0}
    assert types["gpu_worker"]["resources"]["GPU"] == 1


def test_llama_cpp_is_built_for_the_gpu_and_never_taken_from_a_cache() -> None:
    commands = yaml.safe_load((ROOT / "cluster.yaml").read_text())["setup_commands"]
    (install,) = (line for line in commands if "GGML_CUDA" in line)
    assert install.index("PIP_NO_CACHE_DIR=1") < install.index("pip install")


def test_it_holds_no_secret_and_no_fixed_image() -> None:
    text = (ROOT / "cluster.yaml").read_text()
    assert "aws_access_key" not in text
    assert "ami-REPLACE" in text
