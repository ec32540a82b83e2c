"""Every mutant still applies: a rule that moved takes its mutant along, or nobody proves it any more."""

from __future__ import annotations

import pytest

from tests.mutation.__main__ import ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_what_a_mutant_changes_stands_in_its_file(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    missing = [old for old, new in mutant.changes if old not in text or old == new]
    assert not missing, f"{mutant.file} no longer has {missing}"


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_the_test_of_a_mutant_exists(mutant: Mutant) -> None:
    for named in (word for word in mutant.test.split() if word.startswith("tests/")):
        file, _, name = named.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name.partition('[')[0]}(" in text, f"{file} has no {name}"


def test_mutants_have_names_of_their_own() -> None:
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)
