"""Recognize split folders by name: in the spellings of common tools and in several languages."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_NAMES = {
    "train": """
        train training trained trn tr trainval fit learn learning lernen lerndaten trainieren entrainement
        apprentissage entrenamiento addestramento allenamento treino treinamento trening treningowy uczenie
        traning træning trenovaci antrenare antrenament egitim pelatihan latih εκπαιδευση обучение обучающая
        тренировка тренировочная навчання تدريب 训练 訓練 学習 훈련 학습
    """,
    "validation": """
        val vals valid validation validate validating validated vld vl va dev devel development eval
        evaluation evaluate evaluating validierung validacion validacao validazione validatie walidacja
        walidacyjny validacni validering validare dogrulama validasi επικυρωση валидация
        валидационная проверка проверочная валідація تحقق 验证 驗證 検証 검증
    """,
    "test": """
        test tests testing tested tst te ts holdout heldout prueba pruebas teste testes essai testowy
        testy toets prufung testovaci testare teszt uji pengujian δοκιμη тест тестовая тестирование
        тестування اختبار 测试 測試 テスト 시험 테스트
    """,
}
_FILLERS = """
    set sets data dataset datasets image images img imgs picture pictures pics photo photos split splits
    folder dir sample samples example examples stage stg the daten datos donnees dados dane bilder
    集 集合 用 データ 데이터 세트
"""
_WORD = re.compile(r"[^\W\d_]+")
_JOINED = {"hold out": "holdout", "held out": "heldout"}


def _strip_accents(text: str) -> str:
    """Return text without case, width and accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(char for char in apart if unicodedata.category(char) != "Mn")
    return unicodedata.normalize("NFC", bare).replace("ı", "i")


_SPLIT_OF = {_strip_accents(name): split for split, names in _NAMES.items() for name in names.split()}
_PLAIN_FILLERS = frozenset(map(_strip_accents, _FILLERS.split()))
_GLUED = re.compile(f"({'|'.join(sorted(_PLAIN_FILLERS))})$")


def splits_by_name(folders: Iterable[str]) -> dict[str, str]:
    """Return the split of each folder by its name; folders that may be classes are left out.

    All words of a name mean a split or nothing, as in `Training Set`, `images_val` and `train2017`, or its
    other words occur with another split too, as in `seg_train` and `seg_test`. `train station` is a class.
    """
    parsed = {folder: _parse_folder_name(folder) for folder in folders}
    splits_of: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for split, rest in filter(None, parsed.values()):
        splits_of[rest].add(split)
    clear = {rest for rest, splits in splits_of.items() if not rest or len(splits) > 1}
    return {folder: parts[0] for folder, parts in parsed.items() if parts and parts[1] in clear}


def _parse_folder_name(folder: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the split in a name and its other words; None where it has no split, or several."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder)
    text = " ".join(_WORD.findall(_strip_accents(spaced)))
    for apart, joined in _JOINED.items():
        text = text.replace(apart, joined)
    words = [word for word in text.split() if not _is_filler(word)]
    splits = {split for word in words if (split := _split_of_word(word)) is not None}
    rest = tuple(word for word in words if _split_of_word(word) is None)
    return (splits.pop(), rest) if len(splits) == 1 else None


def _is_filler(word: str) -> bool:
    return word in _PLAIN_FILLERS or (len(word) == 1 and word.isascii())


def _split_of_word(word: str) -> str | None:
    return _SPLIT_OF.get(word) or _SPLIT_OF.get(_GLUED.sub("", word))
