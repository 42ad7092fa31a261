"""Secrets of a pair: two files for their owner alone, keys that are alike where they must be, and no run taken twice."""

from __future__ import annotations

import stat

import pytest

from twinphase.cli import main
from twinphase.errors import TwinphaseError
from twinphase.operate.secrets import MOST_RUN, load_secrets, new_pair, take_run
from twinphase_spec.digest import DigestConfig


def test_a_new_pair_shares_the_digest_key_only(tmp_path):
    paths = new_pair(tmp_path / "pair")
    alice, bob = (load_secrets(path) for path in paths)
    assert (alice.role, bob.role) == ("alice", "bob")
    assert alice.digest_key == bob.digest_key
    assert len({alice.symbols_key, bob.symbols_key, alice.digest_key}) == 3
    assert alice.next_run == bob.next_run == 1
    assert alice.digest(7) == bob.digest(7) == DigestConfig(key=alice.digest_key, nonce=7)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    other = load_secrets(new_pair(tmp_path / "other")[0])
    assert other.symbols_key != alice.symbols_key
    assert other.digest_key != alice.digest_key


def test_secrets_are_not_written_over(tmp_path, capsys):
    before = [path.read_text() for path in new_pair(tmp_path)]
    assert main(["secrets", "--out", str(tmp_path)]) == 2
    assert "alice.toml is there already" in capsys.readouterr().err
    assert [(tmp_path / f"{role}.toml").read_text() for role in ("alice", "bob")] == before


def test_runs_go_up_and_none_is_taken_twice(tmp_path):
    paths = new_pair(tmp_path)
    before = [load_secrets(path) for path in paths]
    assert [take_run(paths) for _ in range(3)] == [1, 2, 3]
    assert take_run(paths, 10) == 10
    for used in (10, 4, 1, 0, -1):
        with pytest.raises(TwinphaseError, match=r"runs up to 10; allowed: 11 and up"):
            take_run(paths, used)
    assert take_run(paths) == 11
    for path, old in zip(paths, before, strict=True):
        now = load_secrets(path)
        assert (now.symbols_key, now.digest_key, now.next_run) == (old.symbols_key, old.digest_key, 12)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_ahead_decides(tmp_path):
    """Where the second file could not be written, the first one knows the run as used already."""
    alice, bob = new_pair(tmp_path)
    take_run([alice], 5)
    assert take_run([alice, bob]) == 6
    assert load_secrets(bob).next_run == 7


def test_a_run_that_cannot_be_noted_is_not_taken(tmp_path):
    paths = new_pair(tmp_path)
    for path in paths:
        path.with_name(path.name + ".part").mkdir()
    with pytest.raises(TwinphaseError, match="could be taken twice"):
        take_run(paths)


def test_the_last_run(tmp_path):
    paths = new_pair(tmp_path)
    with pytest.raises(TwinphaseError, match="may not be taken"):
        take_run(paths, MOST_RUN)
    assert take_run(paths, MOST_RUN - 1) == MOST_RUN - 1
    with pytest.raises(TwinphaseError, match="may not be taken"):
        take_run(paths)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('role = "alice"', 'role = "eve"', "role is 'eve'; allowed: alice, bob"),
        ("next_run = 1", "next_run = 0", "next_run is 0; allowed: 1 to"),
        ("next_run = 1", "next_run = true", "next_run is True"),
        ("next_run = 1", "", "next_run is missing"),
        ('symbols_key = "', 'symbols_key = "0', "symbols_key is not 32 digits"),
        ('digest_key = "', 'digest_key = " ', "digest_key is not 32 digits"),
        ('role = "alice"', 'role = "alice"\nnonce = 3', "nonce is missing or is no key"),
        ('role = "alice"', "role = ", "no readable file of secrets"),
    ],
)
def test_what_is_no_file_of_secrets_is_one_sentence(tmp_path, old, new, said):
    path, _ = new_pair(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(TwinphaseError, match=said):
        load_secrets(path)
    with pytest.raises(TwinphaseError, match="no readable file of secrets"):
        load_secrets(tmp_path / "nobody.toml")
