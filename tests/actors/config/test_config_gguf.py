"""The GGUF model file: llama.cpp's names, Spark NLP's names, dropped parameters, inlined paths."""

from __future__ import annotations

import logging
from pathlib import Path

import llama_cpp
import pytest
import yaml
from support import ROOT

from actors.config import ConfigError, GgufModel, gguf, load_model
from actors.gguf.parameters import apply_parameters, check_parameters
from actors.guideline import Guideline

BASE = {
    "name": "m",
    "kind": "gguf",
    "weights": {"model": "m.gguf"},
    "prompt": {"format": "prose", "instruction": "Summarise."},
}


def load(tmp_path: Path, **changes: object) -> GgufModel:
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump({**BASE, **changes}))
    model = load_model(file)
    assert isinstance(model, GgufModel)
    return model


def test_defaults_are_llama_cpps_but_greedy(tmp_path: Path) -> None:
    sampling = load(tmp_path).sampling
    assert sampling.temperature == 0
    assert (sampling.top_k, sampling.top_p, sampling.min_p, sampling.typical_p) == (
        40,
        0.95,
        0.05,
        1,
    )
    assert (sampling.repeat_last_n, sampling.repeat_penalty, sampling.n_predict) == (64, 1, -1)


def test_every_parameter_of_the_vision_card_is_accepted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gguf._warned.clear()
    card = {
        "minKeep": 0, "minP": 0.05, "nPredict": -1, "nProbs": 0, "penalizeNl": False,
        "repeatLastN": 256, "repeatPenalty": 1.18, "stopStrings": ["</s>", "User:"],
        "temperature": 0.05, "tfsZ": 1, "typicalP": 1, "topK": 40, "topP": 0.95,
    }  # fmt: skip
    with caplog.at_level(logging.WARNING):
        model = load(
            tmp_path, sampling=card, context={"batchSize": 4, "nGpuLayers": 99, "nCtx": 4096}
        )
        load(tmp_path, sampling=card)
    assert model.sampling.repeat_penalty == 1.18
    assert model.sampling.stop == ("</s>", "User:")
    assert (model.context.sequences, model.context.n_ctx) == (4, 4096)
    warnings = [record.message for record in caplog.records]
    assert warnings == [
        "tfs_z, penalize_nl: llama.cpp no longer has this parameter; it has no effect"
    ]


def test_both_names_mean_the_same(tmp_path: Path) -> None:
    one = load(tmp_path, sampling={"topK": 7, "nPredict": 9}, context={"flashAttention": True})
    other = load(tmp_path, sampling={"top_k": 7, "n_predict": 9}, context={"flash_attn": "on"})
    assert one == other


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"sampling": {"nCtx": 5}}, "belongs under context, as n_ctx"),
        ({"sampling": {"topK": 5, "top_k": 6}}, "set twice"),
        ({"sampling": {"top_kk": 5}}, "unknown key"),
        ({"sampling": {"temperature": -1}}, "sampling.temperature"),
        ({"context": {"n_ctx": 4096, "kv_tokens": 1024}}, "kv_tokens must be at least"),
        ({"kind": "ggml"}, "kind"),
        ({"decode": {}}, "decode"),
        ({"context": {"nThreads": 4}}, "num_cpus"),
        ({"sampling": {"grammar": "root ::= x"}}, "prompt.format"),
        ({"sampling": {"n_probs": 101}}, "sampling.n_probs"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, **content)


def test_a_guideline_is_inlined_so_that_the_fingerprint_covers_it(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(yaml.safe_dump({"name": "g", "labels": {"DRUG": {}}}))
    model = load(tmp_path, prompt={"format": "template", "guideline": "g.yaml"})
    assert isinstance(model.prompt.guideline, Guideline)


def test_every_spark_name_leads_to_a_field() -> None:
    for place in gguf.SPARK_NAMES.values():
        part, name, *_ = place.split(".")
        owner = GgufModel.model_fields[part].annotation
        assert name in owner.model_fields, place  # type: ignore[union-attr]


def table() -> str:
    """The table of docs/gguf-parameters.md, from the code."""
    rows = ["| Spark NLP | here | what it does |", "|---|---|---|"]
    for spark, place in gguf.SPARK_NAMES.items():
        part, name, *_ = place.split(".")
        field = GgufModel.model_fields[part].annotation.model_fields[name]  # type: ignore[union-attr]
        rows.append(f"| `{spark}` | `{place}` | {field.description} |")
    rows += [f"| `{spark}` | | {reason} |" for spark, reason in gguf.SPARK_ELSEWHERE.items()]
    return "\n".join(rows)


def test_the_documented_table_is_the_codes() -> None:
    file = ROOT / "docs/gguf-parameters.md"
    assert table() in file.read_text(encoding="utf-8"), f"the table should be:\n{table()}"


def test_ineffective_setting_is_warned_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gguf._warned.clear()
    given = {"nKeep": 32, "cachePrompt": True, "penalizeNl": True}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            load(tmp_path, sampling=given)
        load(tmp_path, sampling={"cachePrompt": False})
    said = [record.message for record in caplog.records]
    assert len(said) == 3
    assert sum("it has no effect" in one for one in said) == 3
    assert any("n_keep" in one and "windows" in one for one in said)
    assert said[-1].startswith("cache_prompt")


def test_adapters_are_found_beside_the_model_file(tmp_path: Path) -> None:
    listed = {"model": "m.gguf", "lora": [{"model": "a.gguf", "scale": 0.5}]}
    model = load(tmp_path, weights=listed)
    assert model.weights.lora[0].model == str(tmp_path.resolve() / "a.gguf")
    assert load(tmp_path, weights={"model": "m.gguf", "loraAdapters": {"a.gguf": 0.5}}) == model
    assert [uri for uri, _ in model.weights.files] == [
        str(tmp_path.resolve() / name) for name in ("m.gguf", "a.gguf")
    ]


def test_a_parameter_that_is_turned_round(tmp_path: Path) -> None:
    assert not load(tmp_path, context={"noKvOffload": True}).context.offload_kqv
    assert load(tmp_path, context={"noKvOffload": False}).context.offload_kqv


def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"context\.n_ctxs: unknown key; did you mean n_ctx\?"):
        load(tmp_path, context={"n_ctxs": 512})
    with pytest.raises(ConfigError, match=r"promt: unknown key; did you mean prompt\?"):
        load(tmp_path, promt={})
    with pytest.raises(ConfigError, match=r"xyzzy: unknown key$"):
        load(tmp_path, xyzzy=1)


def test_parameters_of_llama_cpp_pass_through_by_their_own_names(tmp_path: Path) -> None:
    given = {"rope_freq_base": 1e6, "yarn_orig_ctx": 4096, "split_mode": "none"}
    context = load(tmp_path, context={"llama_cpp": given, "mainGpu": 1}).context
    assert context.llama_cpp == given | {"main_gpu": 1}
    assert load(tmp_path, context={"ropeFreqBase": 5.0}).context.llama_cpp == {"rope_freq_base": 5}
    assert context.identity()["llama_cpp"] == {"rope_freq_base": 1e6, "yarn_orig_ctx": 4096}
    with pytest.raises(ConfigError, match="belongs under sampling"):
        load(tmp_path, context={"topK": 1})


def test_parameters_that_llama_cpp_has_not_are_refused() -> None:
    given: dict[str, object] = {"rope_freq_bse": 1.0}
    with pytest.raises(ConfigError, match=r"rope_freq_bse: .* did you mean rope_freq_base\?"):
        check_parameters("m", given)
    with pytest.raises(ConfigError, match=r"unknown llama\.cpp parameter"):
        check_parameters("m", {"n_threads": 4})
    with pytest.raises(ConfigError, match="one of none, layer, row"):
        check_parameters("m", {"split_mode": "columns"})
    with pytest.raises(ConfigError, match="list of numbers"):
        check_parameters("m", {"tensor_split": 0.5})
    with pytest.raises(ConfigError, match="a number, true or false"):
        check_parameters("m", {"yarn_orig_ctx": "many"})


def test_parameters_reach_the_struct_that_has_them() -> None:
    context = llama_cpp.llama_context_default_params()
    model = llama_cpp.llama_model_default_params()
    given = {"rope_scaling_type": "yarn", "yarn_orig_ctx": 99, "main_gpu": 1, "tensor_split": [1.0]}
    kept = [*apply_parameters(context, given), *apply_parameters(model, given)]
    assert context.rope_scaling_type == llama_cpp.LLAMA_ROPE_SCALING_TYPE_YARN
    assert (context.yarn_orig_ctx, model.main_gpu) == (99, 1)
    assert (len(kept), model.tensor_split[0]) == (1, 1.0)
