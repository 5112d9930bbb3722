import pytest

from headrace.core.errors import ConfigError
from headrace.scaffold import check_name


@pytest.mark.parametrize("name", ["shop", "shop_2", "a", "churn_model"])
def test_a_word_is_a_name(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is no name"),
        ("my-shop", "is no name"),
        ("Shop", "is no name"),
        ("2shop", "is no name"),
        ("łódź", "is no name"),
        ("../shop", "is no name"),
        ("a" * 41, "is no name"),
        ("class", "is a word of Python"),
        ("match", "is a word of Python"),
        ("data", "is a folder"),
        ("json", "is installed here"),
        ("numpy", "is installed here"),
        ("headrace", "is installed here"),
    ],
)
def test_what_cannot_be_imported_or_hides_something_is_no_name(name, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        check_name(name)
    assert refused.value.hint


def test_a_folder_of_that_name_in_the_current_one_is_no_installed_module(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    assert check_name("shop") == "shop"
