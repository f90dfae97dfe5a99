"""From an attempt to its manifest: golden text, the published schema of Kubernetes, and hostile names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metta.sweep.errors import UsageError
from metta.sweep.executors.kubernetes.api import as_yaml
from metta.sweep.executors.kubernetes.manifest import PodSettings, job_manifest, job_name
from metta.sweep.executors.kubernetes.volumes import Volume, volume_of
from metta.sweep.executors.remote.engine import EngineRefused
from metta.sweep.trial import Resources
from tests.executors.kubernetes_jobs import SETTINGS, a_job
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
FULL = PodSettings(
    image="example/train:1",
    namespace="research",
    volumes=(Volume.parse("shared:/shared"), Volume.parse("/opt/data:/data:ro")),
    node_selector=(("pool", "gpu"),),
    tolerations=({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},),
    service_account="trainer",
    environment=(("LEVEL", "costs $(HOME) and $5"),),
    secrets=("tracking",),
    pull_policy="Always",
    pull_secrets=("registry",),
    ttl=600,
    host_network=True,
    user=(1000, 100),
)


def validate(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def variables(manifest: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(manifest)["env"]}


@pytest.mark.parametrize(
    ("name", "job", "pods"),
    [
        ("plain", a_job(), SETTINGS),
        (
            "full",
            a_job(
                paths=("/shared/code", "/home/me/not-mounted"),
                reads=("/data/start.pt",),
                writes=("/shared/run",),
                resources=Resources(cpus=2.5, gpus=0.5, memory="2GiB", image="example/other:2"),
                time_limit=90.2,
                grace=2.5,
            ),
            FULL,
        ),
    ],
)
def test_manifest_is_as_reviewed_and_valid(name: str, job: Any, pods: PodSettings) -> None:
    manifest = job_manifest(job, "s-0123abc", pods)
    validate(manifest)
    check_golden(GOLDEN / f"kubernetes_{name}.yaml", as_yaml(manifest))


def test_schema_check_can_fail() -> None:
    manifest = job_manifest(a_job(), "s", SETTINGS)
    manifest["spec"]["backoffLimits"] = 0
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(manifest)


HOSTILE = ["a\nb", 'quo"te', "$(HOME)", "$$(HOME)$", "`id`", "%j", "nul\0", "-dash", "'; rm -rf /", "é", "x" * 5000, ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data(text: str) -> None:
    manifest = job_manifest(a_job(token=text, name=text, command=("python3", text)), "s-1", SETTINGS)
    validate(manifest)
    for value in manifest["metadata"]["annotations"].values():
        assert value.isprintable()
        assert len(value) <= 250
        value.encode()
    # What the kubelet makes of an argument: "$$" is "$", and a "$(" that is left would be a variable.
    argument = container(manifest)["command"][1]
    assert "$(" not in argument.replace("$$", "")
    assert argument.replace("$$", "$") == text


def test_names_that_are_no_text_are_data() -> None:
    job_manifest(a_job(token="\ud800", name="\ud800"), "s", SETTINGS)["metadata"]["annotations"][
        "metta-sweep/token"
    ].encode()


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,49}", fullmatch=True))
def test_names_are_dns_labels(label: str) -> None:
    name = job_name(label)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 57  # the pods' names add six characters, and are labels of at most 63 themselves
    assert name == job_name(label)


def test_names_differ_where_only_capitals_do() -> None:
    assert len({job_name(label) for label in ("run-a", "run-A", "run-a-")}) == 3


def test_pods_get_what_was_asked_for_and_no_more() -> None:
    resources = Resources(cpus=0.25, gpus=1.5, memory="1GB")
    amounts = container(job_manifest(a_job(resources=resources), "s", SETTINGS))["resources"]
    assert amounts["limits"] == {"cpu": "250m", "memory": "1000000000", "nvidia.com/gpu": "2"}
    assert amounts["requests"] == amounts["limits"]


def test_shared_memory_is_mounted_once() -> None:
    for volumes, expected in (((), "shared-memory"), ((Volume.parse("/dev/shm"),), "volume-1")):
        manifest = job_manifest(a_job(), "s", replace(SETTINGS, volumes=(*SETTINGS.volumes, *volumes)))
        mounts = {mount["mountPath"]: mount["name"] for mount in container(manifest)["volumeMounts"]}
        assert mounts["/dev/shm"] == expected
        assert len(manifest["spec"]["template"]["spec"]["volumes"]) == 2


def test_cores_can_be_shared() -> None:
    manifest = job_manifest(a_job(resources=Resources(cpus=2, memory=1000)), "s", replace(SETTINGS, tasks_per_core=3))
    assert container(manifest)["resources"] == {
        "requests": {"cpu": "667m", "memory": "1000"},
        "limits": {"cpu": "2000m", "memory": "1000"},
    }


@pytest.mark.parametrize(("user", "expected"), [(None, {"runAsNonRoot": True}), ((0, 0), {"runAsNonRoot": False})])
def test_root_only_where_asked_for(user: tuple[int, int] | None, expected: dict[str, Any]) -> None:
    manifest = job_manifest(a_job(), "s", replace(SETTINGS, user=user))
    context = manifest["spec"]["template"]["spec"]["securityContext"]
    assert context.items() >= expected.items()
    assert ("runAsUser" in context) == (user is not None)


def test_code_that_is_not_mounted_is_not_looked_for() -> None:
    manifest = job_manifest(a_job(work_folder="/home/me/code", paths=("/home/me/code",)), "s", SETTINGS)
    assert "workingDir" not in container(manifest)
    assert "PYTHONPATH" not in variables(manifest)


def test_variables_can_be_set() -> None:
    manifest = job_manifest(
        a_job(paths=("/shared/a", "/shared/b")),
        "s",
        replace(SETTINGS, environment=(("PYTHONPATH", "/c"), ("HOME", "/h"))),
    )
    assert variables(manifest)["PYTHONPATH"] == "/shared/a:/shared/b:/c"
    assert variables(manifest)["HOME"] == "/h"


def test_images_of_nvidia_show_no_devices_unasked() -> None:
    for gpus, expected in ((0, "void"), (1, None)):
        manifest = job_manifest(a_job(resources=Resources(gpus=gpus)), "s", SETTINGS)
        assert variables(manifest).get("NVIDIA_VISIBLE_DEVICES") == expected


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (a_job(folder="/tmp/run"), ["cannot write to /tmp/run", "mounted are: /shared", "volumes="]),
        (a_job(folder="/shared-not/run"), ["cannot write to /shared-not/run"]),
        (a_job(folder="/shared/read/run"), ["cannot write to /shared/read/run", "/shared/read (read-only)"]),
        (a_job(writes=("/tmp/trial",)), ["cannot write to /tmp/trial"]),
        (a_job(reads=("/tmp/state",)), ["cannot read /tmp/state"]),
        (a_job(paths=("/shared/a:b",)), ["/shared/a:b", "PYTHONPATH"]),
        (a_job(command=("python3", "/shared/\udcff")), ["UTF-8", "udcff"]),
        (a_job(resources=Resources(partition="gpu")), ["partition='gpu'", "node_selector"]),
    ],
)
def test_what_cannot_run_is_refused(job: Any, words: list[str]) -> None:
    volumes = (*SETTINGS.volumes, Volume.parse("shared:/shared/read:ro"))
    with pytest.raises(EngineRefused) as caught:
        job_manifest(job, "s", replace(SETTINGS, volumes=volumes))
    for word in words:
        assert word in str(caught.value)


def test_no_image_is_refused() -> None:
    with pytest.raises(EngineRefused, match="no container image is named"):
        job_manifest(a_job(), "s", replace(SETTINGS, image=None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data:/data", ("data", "/data", False)),
        ("/a/b:/c:ro", ("/a/b", "/c", True)),
        ("/a/b:/c:rw", ("/a/b", "/c", False)),
        ("/scratch", ("/scratch", "/scratch", False)),
        ("/scratch:ro", ("/scratch", "/scratch", True)),
    ],
)
def test_volumes_are_read(text: str, expected: tuple[str, str, bool]) -> None:
    volume = Volume.parse(text)
    assert (volume.source, str(volume.mount), volume.read_only) == expected


@pytest.mark.parametrize(
    "text",
    ["", "data", "data:relative", "Data:/data", "a:/b:/c", "/a/../b", "/a:/b:x", "/a\n:/b", "-x:/a", "a:/b:ro:ro"],
)
def test_volumes_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match=r"volumes: .*CLAIM:/path"):
        Volume.parse(text)


def test_the_deepest_mount_counts() -> None:
    volumes = [Volume.parse(text) for text in ("/", "a:/x", "b:/x/y", "c:/z")]
    found = volume_of(Path("/x/y/file"), volumes)
    assert found is not None
    assert found.source == "b"
    assert volume_of(Path("/x/yy"), volumes) is volumes[1]
    assert volume_of(Path("/q"), volumes[1:]) is None
