"""Hosts become a cluster by a join file each, with an etcd of TLS and users; what a node, or a stranger, may not do."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from bgpctl.lab import netns
from bgpctl.store.etcd.gateway import DENIED, Rejected
from tests.lab.join_rig import ADDRESSES, WITHIN_S, Hosts, all_converge, hosts
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root: network namespaces")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three nodes, whose agents run."""
    with hosts(tmp_path_factory.mktemp("join")) as found:
        found.init()
        for host in ("host2", "host3"):
            found.join(host)
        for host in ADDRESSES:
            found.agent(host)
        all_converge(found, *ADDRESSES)
        yield found


def test_workloads_of_hosts_that_joined_reach_each_other_and_change_with_one_command(made: Hosts) -> None:
    addresses = {host: made.workload(host) for host in ADDRESSES}
    for one, other in permutations(ADDRESSES, 2):
        wait_until(lambda one=one, other=other: made.reaches(one, addresses[other]), within_s=WITHIN_S)  # type: ignore[misc]
    assert "dev eth0" in made.ip("host1", "route", "get", addresses["host2"])
    assert "dev vxlan.bgpctl" in made.ip("host1", "route", "get", addresses["host3"])
    settings = made.home("host1") / "settings.yaml"
    settings.write_text(
        "calico_backend: vxlan\nchannelPort: 9179\npools: {default: {cidr: 10.244.0.0/16, encapsulation: VXLAN}}\n"
    )
    made.does("host1", "apply", str(settings), "--store", str(made.home("host1") / "etc" / "operator.yaml"))
    wait_until(lambda: "dev vxlan.bgpctl" in made.ip("host1", "route", "get", addresses["host2"]), within_s=WITHIN_S)
    assert made.reaches("host1", addresses["host2"])
    wait_until(
        lambda: all(host in made.run("host3", "show", "summary", "--members").stdout for host in ADDRESSES),
        within_s=WITHIN_S,
    )


FORBIDDEN = (
    "meta",
    "cluster/head",
    "cluster/nodes/host1",
    "cluster/nodes/host3",
    "cluster/nodes/new",
    "cluster/allocations/host1",
    "cluster/allocations/host3",
    "blobs/0",
    "alive/host1",
    "digests/host1",
    "workloads/host1/web",
    "revoked",
    "join/invitations/0",
    "join/count",
)
ALLOWED = ("alive/host3", "digests/host3", "workloads/host3/web", "ipam/blocks/default/10.244.9.0-26")


def test_a_node_writes_its_own_records_and_no_configuration_or_record_of_others(made: Hosts) -> None:
    def attempt() -> tuple[list[str], list[str]]:
        kv = made.kv("host3")
        refused, done = [], []
        for key in (*FORBIDDEN, *ALLOWED):
            try:
                kv.commit({}, {key: "x"})
                kv.commit({}, {}, [key])
                done.append(key)
            except Rejected as error:
                refused += [key] if error.code == DENIED else []
        return refused, done

    refused, done = netns.inside(made.namespace("host3"), attempt)
    assert (tuple(refused), tuple(done)) == (FORBIDDEN, ALLOWED)


def test_a_node_reads_no_invitation_and_makes_no_user(made: Hosts) -> None:
    def attempts() -> list[int]:
        kv = made.kv("host3")
        found = []
        for act in (
            lambda: kv.list("join/"),
            lambda: kv.commit({"join/count": 1}, {}),
            lambda: kv.gateway.call("/v3/auth/user/add", {"name": "other", "password": "x"}),
            lambda: kv.gateway.call("/v3/auth/user/grant", {"user": "bgpctl.default.host3", "role": "root"}),
            lambda: kv.gateway.call("/v3/auth/disable", {}),
        ):
            with pytest.raises(Rejected) as caught:
                act()
            found.append(caught.value.code)
        return found

    assert netns.inside(made.namespace("host3"), attempts) == [DENIED] * 5


def refusal(made: Hosts, text: str, *options: str, node: str = "host4", directory: str = "again") -> str:
    """The words with which another join from host2 is refused."""
    home = made.home("host2") / directory
    done = made.run(
        "host2", "cluster", "join", "--from", "-", "--node", node, *options, "--directory", str(home), given=text
    )
    assert done.returncode == 6, done.stdout + done.stderr
    assert not (home / "store.yaml").exists()
    return done.stderr


def test_a_secret_that_was_used_revoked_expired_or_made_up_lets_nobody_in(made: Hosts) -> None:
    here = ("--address", "10.0.0.77/24")
    used = made.invite()
    done = made.run(
        "host2", "cluster", "join", "--from", "-", "--node", "host9", "--address", "10.0.0.99/24",
        "--directory", str(made.home("host2") / "nine"), given=used,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "was used already" in refusal(made, used, *here)
    assert made.cluster("host1", "remove", "host9").returncode == 0

    revoked = made.invite()
    assert made.cluster("host1", "revoke", json.loads(revoked)["id"]).returncode == 0
    assert "was revoked" in refusal(made, revoked, *here)
    assert "has expired" in refusal(made, made.invite("--lifetime", "0s"), *here)
    other = json.dumps({**json.loads(made.invite()), "secret": "A" * 43})
    assert "does not know the secret" in refusal(made, other, *here)
    shown = made.cluster("host1", "invitations").stdout
    assert all(word in shown for word in ("used", "revoked", "expired", "open", "host9"))


def test_a_host_asks_again_with_the_same_key_and_gets_the_same(made: Hosts) -> None:
    text, home = made.invite(), made.home("host2") / "twice"
    words = ("cluster", "join", "--from", "-", "--node", "twice", "--address", "10.0.0.98/24", "--directory", str(home))
    first = made.run("host2", *words, given=text)
    assert first.returncode == 0, first.stderr
    # As if the answer had been lost: the key is there, and the rest is not.
    private = (home / "keys" / "node.pem").read_text().partition("-----BEGIN PRIVATE")
    (home / "keys" / "pending.key").write_text(private[1] + private[2])
    (home / "keys" / "pending.key").chmod(0o600)
    (home / "store.yaml").unlink()
    again = made.run("host2", *words, given=text)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert made.cluster("host1", "remove", "twice").returncode == 0
    assert (
        "twice"
        not in made.run(
            "host1", "cluster", "export", "--store", str(made.home("host1") / "etc" / "operator.yaml")
        ).stdout
    )


def test_the_later_of_two_nodes_with_one_name_or_address_is_refused_and_both_are_named(made: Hosts) -> None:
    words = refusal(made, made.invite(), "--address", "10.0.0.77/24", node="host3")
    assert "host3" in words
    assert "10.1.0.3" in words
    assert "10.0.0.77" in words
    words = refusal(made, made.invite(), "--address", "10.1.0.3/24")
    assert "host3" in words
    assert "host4" in words
    assert "overlaps 10.244.0.0/26, which node host1 has" in refusal(
        made, made.invite(), "--address", "10.0.0.77/24", "--block", "10.244.0.0/24"
    )


def test_a_join_file_that_others_can_read_and_one_of_another_authority_are_not_used(made: Hosts) -> None:
    file = made.home("host2") / "readable"
    file.write_text(made.invite())
    file.chmod(0o644)
    again = ("--directory", str(made.home("host2") / "again"))
    done = made.run("host2", "cluster", "join", "--from", str(file), *again)
    assert done.returncode == 2
    assert "chmod 0600" in done.stderr
    foreign = (made.home("host1") / "etc" / "etcd" / "members" / "ca.crt").read_text()
    text = json.dumps({**json.loads(made.invite()), "ca": foreign})
    done = made.run("host2", "cluster", "join", "--from", "-", *again, given=text)
    assert done.returncode == 2
    assert "nothing was sent" in " ".join(done.stderr.split())


def secrets_of(made: Hosts) -> list[str]:
    found = []
    for host in ADDRESSES:
        etc = made.home(host) / "etc"
        found += [path.read_text().strip() for path in etc.rglob("*.password")]
        found += [line for path in etc.rglob("*") if path.is_file() for line in key_lines(path)]
    return found


def key_lines(path: Path) -> list[str]:
    text = path.read_text()
    return text.partition("PRIVATE KEY-----\n")[2].splitlines()[:1] if "PRIVATE KEY" in text else []


def test_no_other_user_reads_a_secret_and_none_is_in_a_process_a_log_or_a_view(made: Hosts) -> None:
    secrets = secrets_of(made)
    assert len(secrets) > 9
    for host in ADDRESSES:
        for path in (made.home(host) / "etc").rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            is_public = path.is_dir() or path.suffix == ".crt" or path.name == "ca.crl"
            assert is_public or mode == 0o600, f"{path} {mode:o}"
    said = [path.read_text() for path in made.directory.rglob("*.log")]
    said += [made.run(host, "show", view).stdout for host in ADDRESSES for view in ("summary", "events", "nodes")]
    for host in ADDRESSES:
        for pid in netns.processes(made.namespace(host)):
            said += [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ")]
    assert len(said) > 12
    for text in said:
        assert not [secret for secret in secrets if secret in text]


def generation(made: Hosts) -> int:
    store = str(made.home("host1") / "etc" / "operator.yaml")
    return int(json.loads(made.does("host1", "cluster", "status", "--store", store, "-o", "json"))["generation"])


def test_a_change_that_nobody_confirms_is_undone_although_no_agent_may_write_it(made: Hosts) -> None:
    store = str(made.home("host1") / "etc" / "operator.yaml")
    settings = made.home("host1") / "other.yaml"
    settings.write_text(
        "calico_backend: vxlan\npools: {default: {cidr: 10.244.0.0/16, encapsulation: VXLANCrossSubnet}}\n"
    )
    before, number = made.does("host1", "cluster", "export", "--store", store), generation(made)
    made.does("host1", "apply", str(settings), "--store", store, "--confirm-within", "2s", "--force")
    wait_until(lambda: generation(made) == number + 2, within_s=WITHIN_S)
    assert made.does("host1", "cluster", "export", "--store", store) == before


def test_a_backup_that_is_put_back_is_taken_by_all_agents_as_another_content(made: Hosts) -> None:
    store = ("--store", str(made.home("host1") / "etc" / "operator.yaml"))
    status = json.loads(made.does("host1", "cluster", "status", *store, "-o", "json"))
    assert {member["node"]: member["alive"] for member in status["members"]} == dict.fromkeys(ADDRESSES, True)
    before, file = made.does("host1", "cluster", "export", *store), made.home("host1") / "backup"
    made.does("host1", "cluster", "backup", str(file), *store)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    route = made.ip("host1", "route", "show", "10.244.0.64/26")
    settings = made.home("host1") / "other.yaml"
    made.does("host1", "apply", str(settings), *store, "--force")
    wait_until(lambda: made.ip("host1", "route", "show", "10.244.0.64/26") != route, within_s=WITHIN_S)
    made.does("host1", "cluster", "restore", str(file), *store)
    assert made.does("host1", "cluster", "export", *store) == before
    wait_until(lambda: made.ip("host1", "route", "show", "10.244.0.64/26") == route, within_s=WITHIN_S)
    after = json.loads(made.does("host1", "cluster", "status", *store, "-o", "json"))
    assert after["uuid"] != status["uuid"]
    for host in ADDRESSES:
        wait_until(lambda host=host: "!" not in made.does(host, "show", "summary"), within_s=WITHIN_S)  # type: ignore[misc]
    assert (
        made.run(
            "host3", "cluster", "backup", "x", "--store", str(made.home("host3") / "etc" / "store.yaml")
        ).returncode
        == 6
    )


def is_alive(made: Hosts, node: str) -> bool:
    def read() -> bool:
        return bool(made.kv("host1").read(f"alive/{node}").entries)

    return netns.inside(made.namespace("host1"), read)


def test_a_node_that_leaves_or_is_removed_is_gone_everywhere(made: Hosts) -> None:
    # Another test has removed the sign of life, as its node may; the agent gives it again.
    wait_until(lambda: is_alive(made, "host3"), within_s=WITHIN_S)
    done = made.cluster("host1", "remove", "host3")
    assert done.returncode == 6
    assert "is alive" in done.stderr
    made.stop("host3", "agent")
    options = made.home("host3") / "etc" / "store.yaml"
    kept = {path.name: path.read_text() for path in options.parent.iterdir() if path.is_file()}
    block = json.loads(made.does("host1", "show", "blocks", "-o", "json"))
    done = made.cluster("host3", "leave")
    assert done.returncode == 0, done.stderr
    assert not options.exists()
    assert block
    wait_until(lambda: "10.1.0.3" not in made.ip("host1", "route"), within_s=WITHIN_S)
    for name, text in kept.items():  # the one who kept a copy
        (options.parent / name).write_text(text)
        (options.parent / name).chmod(0o600)
    (options.parent / "store.yaml").write_text(
        kept["store.yaml"].replace("keys/node.pem", str(made.home("host2") / "etc" / "keys" / "node.pem"))
    )
    with pytest.raises(Rejected, match="authentication failed"):
        netns.inside(made.namespace("host3"), lambda: made.kv("host3").read("meta"))
    options.unlink()

    assert made.cluster("host1", "remove", "host2").returncode == 6
    assert made.cluster("host1", "remove", "host2", "--force").returncode == 0
    wait_until(lambda: "10.0.0.2 " not in made.ip("host1", "route"), within_s=WITHIN_S)
    wait_until((made.home("host1") / "etc" / "keys" / "ca.crl").exists, within_s=WITHIN_S)
    assert "host2" not in made.does("host1", "show", "nodes")
