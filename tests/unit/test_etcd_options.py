"""How an etcd is described: by an address, or by a file with keys and a password beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpctl.store.etcd.options import SNAPSHOTS, Endpoint, Options, UnusableStore, options_of


def test_an_address_names_members_and_a_cluster() -> None:
    found = options_of("etcd://10.0.0.1,etcd-2:4001,[fd00::1]:2379/blue")
    members = (Endpoint(False, "10.0.0.1", 2379), Endpoint(False, "etcd-2", 4001), Endpoint(False, "fd00::1", 2379))
    assert found == Options(members, "blue", snapshot=SNAPSHOTS / "blue.json")
    assert found.name == "etcd://10.0.0.1:2379,etcd-2:4001,[fd00::1]:2379/blue"
    assert options_of("etcd://a").cluster == "default"


def test_a_file_has_the_rest_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "store.yaml"
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "secret").chmod(0o600)
    file.write_text("endpoints: [https://a:1]\nuser: a1\npasswordFile: secret\nca: ca.pem\nsnapshot: /s.json\n")
    found = options_of(str(file))
    assert (found.user, found.password(), found.ca, found.snapshot) == (
        "a1",
        "hunter2",
        tmp_path / "ca.pem",
        Path("/s.json"),
    )
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("endpoints: []\n", "endpoints is a list of members"),
        ("endpoints: [http://]\n", "store.yaml:1:13: 'http://' is no member"),
        ("endpoints: [a:99999]\n", "'a:99999' is no member"),
        ("endpoints: [a]\npassword: x\n", "store.yaml:2:1: unknown key password"),
        ("endpoints: [a]\nuser: x\n", "user needs passwordFile beside it"),
        ("endpoints: [a]\nkey: x\n", "key needs certificate beside it"),
        ("endpoints: [a]\ncluster: a/b\n", "'a/b' is no name of a cluster"),
        ("- a\n", "a store is one mapping"),
        ("a: [\n", "not YAML"),
    ],
)
def test_a_bad_file_is_refused_with_the_place_and_the_rule(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "store.yaml"
    file.write_text(text)
    with pytest.raises(UnusableStore, match=r"store\.yaml") as refused:
        options_of(str(file))
    assert why in str(refused.value)


@pytest.mark.parametrize("word", ["etcd://", "etcd://a:b", "etcd://a/b/c", "nowhere.yaml"])
def test_a_bad_word_is_refused(word: str) -> None:
    with pytest.raises(UnusableStore):
        options_of(word)


@pytest.mark.parametrize("name", ["password", "key"])
def test_a_secret_that_other_users_can_read_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("x")
    file.chmod(0o640)
    options = Options((Endpoint(True, "a", 1),), certificate=file, key=file, user="x", password_file=file)
    with pytest.raises(UnusableStore, match=r"other users can read .*; run: chmod 0600"):
        options.password() if name == "password" else options.tls()
