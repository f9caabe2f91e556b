"""Publishing to a small HTTP server that answers as the Hub does and keeps every request."""

import base64
import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import reset_sessions

from convert.commands import convert_merge
from convert.export_hf import export_hf, from_base
from convert.import_hf import import_hf
from convert.model_card import Card, is_generated
from convert.passage import QUIET
from convert.publish import ask, publish
from recipes.artifacts import read_json, write_json
from recipes.errors import UserError

REPO = "team/model"
Make = Callable[..., Path]


class Hub(ThreadingHTTPServer):
    """`requests` are (method, path, body); `repository` is what the Hub says of REPO, None if it is not there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, bytes]] = []
        self.repository: dict[str, Any] | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def writes(self) -> list[str]:
        return [path for method, path, _ in self.requests if method != "GET"]

    def commit(self) -> tuple[dict[str, bytes], list[str]]:
        """What the one commit adds, and what it removes."""
        (body,) = (body for method, path, body in self.requests if "/commit/" in path)
        lines = [json.loads(line) for line in body.splitlines()]
        files = {line["value"]["path"]: line["value"] for line in lines if line["key"] == "file"}
        deleted = [line["value"]["path"] for line in lines if line["key"] == "deletedFile"]
        return {name: base64.b64decode(file["content"]) for name, file in files.items()}, deleted


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, body: bytes) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        hub.requests.append((self.command, path, body))
        if path == f"/api/models/{REPO}":
            self._send(hub.repository or {}, 200 if hub.repository else 404)
        elif path == "/api/repos/create":
            self._send({"url": f"{hub.url}/{REPO}"})
        elif path == "/api/validate-yaml":
            self._send({"errors": [], "warnings": []})
        elif path == f"/api/models/{REPO}/preupload/main":
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            self._send({"files": [{"path": file["path"], **modes} for file in json.loads(body)["files"]]})
        else:
            self._send({"commitUrl": f"{hub.url}/{REPO}/commit/1", "commitOid": "1"})

    def _send(self, content: Any, status: int = 200) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        reset_sessions()
        yield server
        server.shutdown()
    reset_sessions()


@pytest.fixture
def folder(make_model: Make, tmp_path: Path) -> Path:
    model = make_model()
    import_hf(model, tmp_path / "nemo")
    card = Card(base_model="Qwen/Qwen3-4B", licence="apache-2.0", languages=("tr",))
    export_hf(tmp_path / "nemo", tmp_path / "out", from_base(model), card=card)
    return tmp_path / "out"


def yes(question: str) -> bool:
    return True


def never(question: str) -> bool:
    raise AssertionError("nothing should have been asked")


def test_a_yes_sends_every_file_of_the_export_and_nothing_else(hub: Hub, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    asked: list[str] = []
    assert publish(folder, REPO, True, lambda question: bool(asked.append(question) or True)) == f"{hub.url}/{REPO}"
    for piece in ("licence apache-2.0, to the new private repository team/model?", "not sent  notes.txt"):
        assert piece in asked[0]
    sent, deleted = hub.commit()
    assert deleted == [] and sent.keys() == {path.name for path in folder.iterdir()} - {"notes.txt"}
    card = sent.pop("README.md").decode()
    assert 'model_id = "team/model"\n' in card and is_generated(card)
    manifest = json.loads(sent.pop("conversion.json"))
    stated = json.loads((folder / "conversion.json").read_text())
    assert stated["source"].startswith("/") and manifest["source"] == "/".join(Path(stated["source"]).parts[-2:])
    assert manifest["tensors"] == stated["tensors"]
    for name, content in sent.items():
        assert content == (folder / name).read_bytes()
        assert f"{len(content):>18,}  {name}\n" in asked[0]
    created = next(json.loads(body) for _, path, body in hub.requests if path == "/api/repos/create")
    assert created["private"] is True


@pytest.mark.parametrize("terms", [1, 2])
def test_no_path_of_the_sender_is_sent(
    hub: Hub, make_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terms: int
) -> None:
    """Whatever characters a folder's name has: of every path the last two names are left."""
    private = tmp_path / "Ayşe, private" / "my runs"
    private.mkdir(parents=True)
    model, twin = make_model().rename(private / "base"), private / 'base "2"'
    shutil.copytree(model, twin)
    out = private / "out"
    monkeypatch.chdir(twin)
    convert_merge(out, [str(model), "."][:terms], dtype=None, verify=False, progress=QUIET)
    publish(out, REPO, False, yes)
    sent, _ = hub.commit()
    manifest = json.loads(sent["conversion.json"])
    assert [term["place"] for term in manifest["combination"]["terms"]] == ["my runs/base", "."][:terms]
    assert manifest["source"] == ("my runs/base" if terms == 1 else "average of my runs/base, .")
    assert "- model 1: my runs/base ×" in sent["README.md"].decode()
    for content in (sent["conversion.json"], sent["README.md"]):
        assert "Ayşe" not in content.decode() and str(tmp_path) not in content.decode()


def test_a_no_sends_nothing(hub: Hub, folder: Path) -> None:
    assert publish(folder, REPO, False, lambda question: False) is None
    assert hub.writes == []


def test_without_a_terminal_the_answer_is_no(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert publish(folder, REPO, False, ask) is None
    assert hub.writes == []
    assert "to the new PUBLIC repository team/model?\nnothing was sent" in capsys.readouterr().out


def test_an_edited_card_goes_as_it_is(hub: Hub, folder: Path) -> None:
    edited = (folder / "README.md").read_text() + "\nMine.\n"
    (folder / "README.md").write_text(edited)
    publish(folder, REPO, False, yes)
    assert hub.commit()[0]["README.md"].decode() == edited


def test_weights_that_would_stand_beside_the_new_ones_are_removed(hub: Hub, folder: Path) -> None:
    there = ["model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "notes.md"]
    hub.repository = {"id": REPO, "private": False, "siblings": [{"rfilename": name} for name in there]}
    asked: list[str] = []
    publish(folder, REPO, False, lambda question: bool(asked.append(question) or True))
    assert "removed there  model-00001-of-00002.safetensors" in asked[0] and "existing PUBLIC" in asked[0]
    assert hub.commit()[1] == there[1:3]


@pytest.mark.parametrize("private", [True, False])
def test_an_existing_repository_must_be_as_private_as_asked(hub: Hub, folder: Path, private: bool) -> None:
    hub.repository = {"id": REPO, "private": not private, "siblings": []}
    with pytest.raises(UserError, match="exists and is"):
        publish(folder, REPO, private, never)
    assert hub.writes == []


def damage_manifest(folder: Path, **fields: Any) -> None:
    write_json(folder / "conversion.json", {**read_json(folder / "conversion.json"), **fields})


def flip_last_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "conversion.json").unlink(), "does not exist"),
        (lambda folder: damage_manifest(folder, kind="import"), "expected the manifest of an export"),
        (lambda folder: damage_manifest(folder, files={"../secret": 1}), "expected the manifest of an export"),
        (lambda folder: damage_manifest(folder, files={"config.json": "large"}), "expected the manifest of an export"),
        (lambda folder: damage_manifest(folder, tensors=[]), "expected the manifest of an export"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"tokenizer\.json: missing"),
        (lambda folder: (folder / "config.json").write_text("{}"), r"config\.json: missing or not of"),
        (lambda folder: flip_last_byte(folder / "model.safetensors"), "reads back other than it was written"),
        (lambda folder: (folder / "README.md").write_text("# Mine\n"), "expected YAML fields"),
        (lambda folder: (folder / "README.md").write_text("---\nbase_model: a b\n---\n"), "cannot read its front"),
        (lambda folder: (folder / "README.md").write_text("---\nmodel-index: [1]\n---\n"), "cannot read its front"),
    ],
)
def test_what_is_no_whole_export_is_not_sent(hub: Hub, folder: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(folder)
    with pytest.raises(UserError, match=said) as error:
        publish(folder, REPO, True, never)
    assert "\n" not in str(error.value) and hub.requests == []


def test_no_token_no_connection_and_no_such_name_are_one_sentence(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="expected OWNER/NAME"):
        publish(folder, "a/b/c", True, never)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9: the Hub cannot be asked"):
        publish(folder, REPO, True, never)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match="no access token"):
        publish(folder, REPO, True, never)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        publish(folder, REPO, True, never)
    assert hub.requests == []
