"""A secret lets one host in, once, and in time; its file is read or refused with words that never quote it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bgpctl.core.cluster import join_file
from bgpctl.core.cluster.join_file import BadJoinFile, JoinFile
from bgpctl.core.cluster.join_secret import Invitation, Refused, digest_of, judge

SECRET = "s" * 43
OPEN = Invitation("0123456789ab", digest_of(SECRET), ends_s=1000.0)
USED = replace(OPEN, node="h2", key="k2")


@pytest.mark.parametrize(
    ("invitation", "secret", "node", "key", "now_s", "expected"),
    [
        (OPEN, SECRET, "h2", "k2", 999.9, None),
        (OPEN, SECRET, "h2", "k2", 1000.0, Refused.EXPIRED),
        (OPEN, SECRET + "s", "h2", "k2", 0.0, Refused.UNKNOWN),
        (OPEN, "", "h2", "k2", 0.0, Refused.UNKNOWN),
        (OPEN, OPEN.digest, "h2", "k2", 0.0, Refused.UNKNOWN),
        (None, SECRET, "h2", "k2", 0.0, Refused.UNKNOWN),
        (replace(OPEN, is_revoked=True), SECRET, "h2", "k2", 0.0, Refused.REVOKED),
        (USED, SECRET, "h2", "k2", 0.0, None),
        (USED, SECRET, "h2", "k3", 0.0, Refused.USED),
        (USED, SECRET, "h3", "k2", 0.0, Refused.USED),
        (USED, SECRET, "h2", "k2", 1001.0, Refused.EXPIRED),
        (USED, "x", "h2", "k2", 0.0, Refused.UNKNOWN),
    ],
)
def test_a_secret_lets_in_the_first_host_that_shows_it_in_time(
    invitation: Invitation | None, secret: str, node: str, key: str, now_s: float, expected: Refused | None
) -> None:
    assert judge(invitation, secret, node, key, now_s) is expected


PEM = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
FILE = JoinFile("default", "10.0.0.1", 9178, PEM, "0123456789ab", SECRET)


@pytest.mark.parametrize("file", [FILE, replace(FILE, host="fd00::1"), replace(FILE, host="join.example")])
def test_a_join_file_is_read_as_it_was_written(file: JoinFile) -> None:
    assert join_file.read(join_file.written(file), "join-file") == file


def test_a_join_file_in_a_message_has_no_secret() -> None:
    assert SECRET not in repr(FILE)
    assert SECRET not in f"{FILE}"


GOOD = json.loads(join_file.written(FILE))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"join-file:1:1: it is no join file: no JSON"),
        ("[]", "it is no join file"),
        ("[" * 100_000, "join-file"),
        ('{"a": 1}', "it is no join file"),
        (json.dumps({**GOOD, "bgpctl-join": 2}), "this version reads format 1"),
        (json.dumps({**GOOD, "secret": ""}), "secret is missing"),
        (json.dumps({**GOOD, "secret": SECRET[:9]}), "secret is 32 to 128"),
        (json.dumps({**GOOD, "ca": PEM + PEM}), "ca is one certificate"),
        (json.dumps({**GOOD, "id": "../x"}), "id is hexadecimal"),
        (json.dumps({**GOOD, "service": "10.0.0.1"}), "is no HOST:PORT"),
        (json.dumps({**GOOD, "service": "10.0.0.1:99999"}), "is no HOST:PORT"),
        (json.dumps({**GOOD, "cluster": 7}), "cluster is missing"),
        (join_file.written(FILE)[:-9], "no JSON"),
    ],
)
def test_a_damaged_join_file_is_refused_with_the_rule_and_without_the_secret(text: str, words: str) -> None:
    with pytest.raises(BadJoinFile, match=words) as caught:
        join_file.read(text, "join-file")
    assert SECRET[:9] not in str(caught.value)
