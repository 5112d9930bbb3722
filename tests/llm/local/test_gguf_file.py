"""Files that the package `gguf` has written."""

import os
import re
from importlib import import_module

import pytest

from headrace.core.errors import DataError
from headrace.llm.local.gguf_file import GgufFile
from headrace.llm.local.gguf_model import GgufModel

gguf = import_module("gguf") if os.environ.get("CI") else pytest.importorskip("gguf")  # in CI it has to be there
numpy = pytest.importorskip("numpy")

ROWS = numpy.random.default_rng(0).normal(size=(4, 64)).astype("float32")
PACKED = [None, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.BF16]


def write(path, architecture="llama", **texts):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(8192)
    writer.add_rope_freq_base(0.5)
    writer.add_bool("a.flag", True)
    writer.add_array("a.texts", ["Grüße", "", "x" * 300])
    writer.add_array("a.numbers", [1, -2, 3])
    for name, text in texts.items():
        writer.add_string(name.replace("__", "."), text)
    for place, kind in enumerate(PACKED):
        data = ROWS if kind is None else gguf.quantize(ROWS, kind)
        writer.add_tensor(f"t{place}.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_metadata_are_read(tmp_path):
    found = GgufFile(write(tmp_path / "m.gguf")).metadata

    assert found["general.architecture"] == "llama"
    assert (found["llama.context_length"], found["llama.rope.freq_base"], found["a.flag"]) == (8192, 0.5, True)
    assert (found["a.texts"], found["a.numbers"]) == (["Grüße", "", "x" * 300], [1, -2, 3])


def test_tensors_are_read_as_the_package_unpacks_them(tmp_path):
    path = write(tmp_path / "m.gguf")
    expected = {each.name: gguf.dequantize(each.data, each.tensor_type) for each in gguf.GGUFReader(path).tensors}
    found = GgufFile(path)

    assert found.tensors.keys() == expected.keys() == {f"t{place}.weight" for place in range(len(PACKED))}
    for name, rows in expected.items():
        numpy.testing.assert_array_equal(found.tensor(name), rows)
        assert abs(found.tensor(name) - ROWS).max() < 0.3
    with pytest.raises(DataError, match=r"has no tensor 'other'"):
        found.tensor("other")
    with pytest.raises(DataError, match=r"does not say its llama\.block_count"):
        found.need("llama.block_count")


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(tmp_path):
    whole = write(tmp_path / "m.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    places = [*range(0, 600, 7), len(whole) - 5000, len(whole) - 100]
    for place in places:
        cut.write_bytes(whole[:place])
        with pytest.raises(DataError, match=r"no complete GGUF file|cannot be read"):
            [GgufFile(cut).tensor(f"t{each}.weight") for each in range(len(PACKED))]


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"PK\x03\x04" + bytes(100))

    with pytest.raises(DataError, match="does not begin with GGUF"):
        GgufFile(path)


@pytest.mark.parametrize(
    ("what", "architecture", "texts"),
    [
        ("architecture 'bert'", "bert", {}),
        ("tokenizer 'llama'", "llama", {"tokenizer__ggml__model": "llama"}),
        ("pre-tokenizer 'qwen2'", "llama", {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__pre": "qwen2"}),
    ],
)
def test_what_is_not_known_is_named_with_a_way_out(tmp_path, what, architecture, texts):
    with pytest.raises(DataError, match=re.escape(what)) as caught:
        GgufModel(write(tmp_path / "m.gguf", architecture, **texts))

    assert "save_pretrained" in str(caught.value)
