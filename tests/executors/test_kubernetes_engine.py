"""The engine against a server that misbehaves as no real one does on demand."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from metta.sweep.errors import MissingExtraError, UsageError
from metta.sweep.executors.kubernetes.engine import KubernetesEngine
from metta.sweep.executors.kubernetes.executor import KubernetesExecutor
from metta.sweep.executors.kubernetes.manifest import LABEL, SUBMISSION, TOKEN, job_manifest, job_name
from metta.sweep.executors.remote.engine import EngineRefused, EngineUnavailable, Phase
from metta.sweep.trial import FailureReason
from tests.executors.kubernetes_jobs import SETTINGS, a_job

NAME = job_name("label")
HANG_UP = (0, b"")


@dataclass
class Server:
    """What it has been asked, and what it is to answer before it goes on as it should.

    Attributes:
        objects: Jobs and pods by their plural.
        answers: for the next requests: a code and a body, or `HANG_UP`.
        requests: method, path and query of each request.
    """

    port: int = 0
    objects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {"jobs": {}, "pods": {}})
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)
    denied: frozenset[tuple[str, str]] = frozenset()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        kind, _, name = path.partition("/namespaces/default/")[2].partition("/")
        if path.endswith("/selfsubjectaccessreviews"):
            wanted = body["spec"]["resourceAttributes"]
            return 201, {**body, "status": {"allowed": (wanted["verb"], wanted["resource"]) not in self.denied}}
        objects = self.objects[kind]
        if method == "POST":
            name = body["metadata"]["name"]
            if name in objects:
                return 409, problem(409, f'jobs.batch "{name}" already exists')
            objects[name] = body
            return 201, body
        if not name:
            values = query["labelSelector"][0].partition("(")[2].rstrip(")").split(",")
            found = [item for item in objects.values() if item["metadata"]["labels"][SUBMISSION] in values]
            return 200, {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": found}
        if name not in objects:
            return 404, problem(404, f'jobs.batch "{name}" not found')
        return 200, objects.pop(name) if method == "DELETE" else objects[name]


def problem(code: int, message: str) -> dict[str, Any]:
    reason = {404: "NotFound", 409: "AlreadyExists" if "already exists" in message else "Conflict"}.get(code, "")
    return {"kind": "Status", "metadata": {}, "status": "Failure", "message": message, "code": code, "reason": reason}


def as_answer(code: int, message: str) -> tuple[int, bytes]:
    return code, json.dumps(problem(code, message)).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(url.query)
        self.state.requests.append((self.command, url.path, query))
        if self.state.answers:
            code, body = self.state.answers.pop(0)
            if not code:
                self.close_connection = True
                return
        else:
            code, answer = self.state.answer(self.command, url.path, query, json.loads(content or b"null"))
            body = json.dumps(answer).encode()
        self.send_response(code)
        if body.startswith(b"{"):
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"state": state}))
    listening.daemon_threads = True
    state.port = listening.server_address[1]
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    config = {
        "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{state.port}"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
        "current-context": "fake",
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    yield state
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def engine(server: Server) -> Iterator[KubernetesEngine]:
    made = KubernetesEngine(SETTINGS, image_patience=60)
    yield made
    made.close()


def a_pod(name: str = NAME, label: str = "label", **metadata: Any) -> dict[str, Any]:
    labels, annotations = {SUBMISSION: name}, {LABEL: label}
    status = {"phase": "Running", "containerStatuses": [
        {"name": "worker", "ready": True, "restartCount": 0, "image": "i", "imageID": "i",
         "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
    ]}  # fmt: skip
    return {
        "metadata": {"name": f"{name}-x", "labels": labels, "annotations": annotations, **metadata},
        "status": status,
    }


def test_submit_find_status_cancel_forget(engine: KubernetesEngine, server: Server) -> None:
    assert engine.find("label") is None
    assert engine.submit([a_job()], "label") == [NAME]
    assert engine.find("label") == [NAME]
    assert engine.status({NAME: "label"})[NAME].phase is Phase.QUEUED
    server.objects["pods"]["a"] = a_pod()
    assert engine.status({NAME: "label", "unknown": "label"}).keys() == {NAME}
    assert engine.status({NAME: "label"})[NAME].phase is Phase.RUNNING
    engine.cancel({NAME: "label"})
    engine.forget({NAME: "label"})  # it is gone already
    deleted = [query["propagationPolicy"] for method, _, query in server.requests if method == "DELETE"]
    assert deleted == [["Foreground"], ["Background"]]
    assert engine.status({NAME: "label"})[NAME].reason is FailureReason.CANCELLED
    server.objects["pods"].clear()
    assert engine.status({NAME: "label"}) == {}


def test_a_submission_whose_answer_was_lost_is_adopted(engine: KubernetesEngine, server: Server) -> None:
    engine.submit([a_job()], "label")
    server.answers.append(HANG_UP)
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        engine.submit([a_job()], "label")
    assert engine.submit([a_job()], "label") == [NAME]
    assert len(server.objects["jobs"]) == 1


@pytest.mark.parametrize("annotation", [TOKEN, LABEL])
def test_a_job_of_somebody_else_is_left_alone(engine: KubernetesEngine, server: Server, annotation: str) -> None:
    other = job_manifest(a_job(), "label", SETTINGS)
    other["metadata"]["annotations"][annotation] = "another"
    server.objects["jobs"][NAME] = other
    with pytest.raises(EngineRefused, match=f"a Job {NAME} of somebody else"):
        engine.submit([a_job()], "label")


def test_names_that_do_not_belong_to_their_labels_are_left_alone(engine: KubernetesEngine, server: Server) -> None:
    engine.submit([a_job()], "label")
    before = len(server.requests)
    for others in ({NAME: "another"}, {"another": "label"}):
        engine.cancel(others)
        engine.forget(others)
        assert engine.status(others) == {}
    assert len(server.requests) == before
    stranger = server.objects["jobs"][NAME]["metadata"]["annotations"]
    stranger[LABEL] = "another"
    assert engine.status({NAME: "label"}) == {}
    assert engine.find("label") is None


NOT_NOW = [
    HANG_UP,
    as_answer(500, "failed calling webhook"),
    as_answer(503, "etcd has no leader"),
    as_answer(429, "too many requests"),
    as_answer(401, "Unauthorized"),
    as_answer(410, "the resourceVersion is too old"),
    as_answer(409, "the object has been modified"),
    as_answer(403, "exceeded quota: jobs"),
    (502, b"<html>Bad Gateway</html>"),
    (502, b"{}"),
    (404, b"<html>Not Found</html>"),
    (404, b"{}"),
    (502, b'{"message": 3'),
    (200, b"<html>Please log in</html>"),
    (200, b'{"items": [{"metadata"'),
    (200, b'{"items": 3}'),
    (200, b'{"items": [{}]}'),
    (200, b"{}"),
]


@pytest.mark.parametrize("answer", NOT_NOW, ids=lambda answer: f"{answer[0]} {answer[1][-40:]!r}")
def test_trouble_passes(engine: KubernetesEngine, server: Server, answer: tuple[int, bytes]) -> None:
    """Every method says so, and the next call finds a server that works."""
    engine.submit([a_job()], "label")
    jobs = {NAME: "label"}
    for call in (
        lambda: engine.submit([a_job()], "other"),
        lambda: engine.find("label"),
        lambda: engine.status(jobs),
    ):
        server.answers[:] = [answer]
        with pytest.raises(EngineUnavailable, match="Kubernetes"):
            call()
        assert not server.answers
        assert engine.status(jobs)[NAME].phase is Phase.QUEUED
    if answer[0] != 200:  # what the answer to a deletion says does not matter
        for end in (engine.cancel, engine.forget):
            server.answers[:] = [answer]
            with pytest.raises(EngineUnavailable, match="Kubernetes"):
                end(jobs)
    assert engine.find("label") == [NAME]


def test_trouble_in_the_middle_of_a_look(engine: KubernetesEngine, server: Server) -> None:
    """Jobs are told, then the connection ends: nothing half is taken for the whole."""
    engine.submit([a_job()], "label")
    query = {"labelSelector": [f"{SUBMISSION} in ({NAME})"]}
    _, found = server.answer("GET", "x/namespaces/default/jobs", query, None)
    server.answers[:] = [(200, json.dumps(found).encode()), HANG_UP]
    with pytest.raises(EngineUnavailable):
        engine.status({NAME: "label"})
    assert engine.status({NAME: "label"})[NAME].phase is Phase.QUEUED


@pytest.mark.parametrize(
    ("code", "words"),
    [(403, 'cannot create resource "jobs"'), (422, "spec: Invalid value"), (404, 'namespaces "x" not found')],
)
def test_what_is_refused_stays_refused(engine: KubernetesEngine, server: Server, code: int, words: str) -> None:
    server.answers[:] = [as_answer(code, words)]
    with pytest.raises(EngineRefused) as caught:
        engine.submit([a_job()], "label")
    assert words in str(caught.value)
    assert not server.objects["jobs"]
    if code != 404:  # a question is asked again: rights are granted, too
        server.answers[:] = [as_answer(code, words)]
        with pytest.raises(EngineUnavailable):
            engine.find("label")


def test_nobody_answers(engine: KubernetesEngine, server: Server, tmp_path: Path) -> None:
    config = (tmp_path / "config").read_text().replace(str(server.port), "1")
    (tmp_path / "config").write_text(config)
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        engine.submit([a_job()], "label")
    assert any("cannot be reached" in problem for problem in engine.problems())


def test_many_jobs_are_asked_for_in_few_requests(engine: KubernetesEngine, server: Server) -> None:
    jobs = {job_name(f"label-{number}"): f"label-{number}" for number in range(250)}
    for number in (0, 130, 249):
        engine.submit([a_job()], f"label-{number}")
    server.requests.clear()
    assert len(engine.status(jobs)) == 3
    assert len(server.requests) == 6
    assert engine.status({}) == {}


def test_new_credentials_are_read(engine: KubernetesEngine, server: Server, tmp_path: Path) -> None:
    assert engine.find("label") is None
    server.answers[:] = [as_answer(401, "Unauthorized")]
    with pytest.raises(EngineUnavailable, match="401"):
        engine.find("label")
    (tmp_path / "config").write_text("{}")
    with pytest.raises(EngineUnavailable, match="configuration cannot be used"):
        engine.find("label")


def test_a_program_that_has_no_credentials(engine: KubernetesEngine, tmp_path: Path) -> None:
    """Logging in again helps, while the run waits."""
    config = json.loads((tmp_path / "config").read_text())
    program = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "false"}
    config["users"][0]["user"] = {"exec": program}
    (tmp_path / "config").write_text(json.dumps(config))
    with pytest.raises(EngineUnavailable, match="no credentials"):
        engine.submit([a_job()], "label")


@pytest.mark.parametrize("content", [None, "", "[]", "x: [", '{"clusters": []}'])
def test_configuration_that_cannot_be_used(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if content is not None:
        (tmp_path / "config").write_text(content)
    engine = KubernetesEngine(SETTINGS)
    with pytest.raises(EngineRefused, match="KUBECONFIG"):
        engine.submit([a_job()], "label")
    assert any("KUBECONFIG" in problem for problem in engine.problems())


def test_problems(server: Server) -> None:
    engine = KubernetesEngine(SETTINGS)
    assert list(engine.problems()) == []
    server.denied = frozenset({("create", "jobs"), ("list", "pods")})
    assert [problem.partition(" in the")[0] for problem in engine.problems()] == [
        "you may not create jobs",
        "you may not list pods",
    ]
    engine.close()
    server.denied = frozenset()
    engine = KubernetesEngine(replace(SETTINGS, volumes=()))
    (problem,) = engine.problems()
    assert "volumes=" in problem
    engine.close()


def test_a_driver_that_is_root(server: Server, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pods are root only if it says so; another driver's pods are what it is."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    executor = KubernetesExecutor("image", volumes=["/shared"])
    with pytest.raises(EngineRefused, match="user=0"):
        executor.engine.submit([a_job()], "label")
    assert any("user=0" in problem for problem in executor.engine.problems())
    executor.close()
    executor = KubernetesExecutor("image", volumes=["/shared"], user=0)
    assert executor.engine.submit([a_job()], "label") == [NAME]
    executor.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"volumes": ["shared"]}, ["volumes", "'shared'"]),
        ({"volumes": "shared:/shared"}, ["expected a list", "volumes=['shared:/shared']"]),
        ({"secrets": "tracking"}, ["expected a list"]),
        ({"environment": {"API_TOKEN": "c4n4ry-0123"}}, ["API_TOKEN looks like a secret", "secrets="]),
        ({"environment": {"a-b": "x"}}, ["'a-b' is no name of a variable"]),
        ({"environment": {"LEVEL": 5}}, ["environment={'LEVEL': ...}", "text as its value"]),
        ({"pull_policy": "always"}, ["'always'", "IfNotPresent", 'did you mean "Always"']),
        ({"user": "root"}, ["'root'", "1000"]),
        ({"user": -1}, ["-1"]),
        ({"user": 2**32 - 1}, ["4294967295"]),
        ({"ttl": -1}, ["ttl=-1"]),
        ({"image_patience": float("nan")}, ["image_patience"]),
        ({"tasks_per_core": 0.5}, ["tasks_per_core=0.5"]),
        ({"max_jobs": 0}, ["max_jobs=0"]),
    ],
)
def test_arguments_that_cannot_be_used(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        KubernetesExecutor("image", **options)
    for word in words:
        assert word in str(caught.value)
    assert "c4n4ry" not in str(caught.value)


def test_options_reach_the_manifest() -> None:
    executor = KubernetesExecutor(
        "image", namespace="n", volumes=["/shared"], node_selector={"pool": "a"}, tolerations=[{"operator": "Exists"}],
        service_account="s", environment={"A": "b"}, secrets=["c"], pull_policy="Never", pull_secrets=["d"], ttl=9,
        host_network=True, user="5:6", gpu_resource="g", tasks_per_core=2, python="py",
    )  # fmt: skip
    text = executor.engine.describe(a_job(), "label")
    executor.close()
    for words in (
        "image: image", "namespace: n", "path: /shared", "pool: a", "- operator: Exists", "serviceAccountName: s",
        "- name: A\n          value: b",
        "secretRef:\n            name: c", "imagePullPolicy: Never", "imagePullSecrets:\n      - name: d",
        "ttlSecondsAfterFinished: 9", "hostNetwork: true", "runAsUser: 5", "runAsGroup: 6", "cpu: 500m",
    ):  # fmt: skip
        assert words in text, text


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightkube", None)
    with pytest.raises(MissingExtraError, match=r"metta-sweep\[kubernetes\]"):
        KubernetesExecutor("image")
