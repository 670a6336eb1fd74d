"""hyper-tools models: the table, what a file is, checksums, conversion, and downloads from a server that misbehaves."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
import pggan_files as files

from bids_app.tools import main as tools
from hyper_bids.errors import InconsistentInput, MissingFiles, OutputNotWritable, UsageError
from hyper_bids.generate import GENERATORS, Eigenface, PGGANGenerator
from hyper_bids.generate import download as module
from hyper_bids.generate.download import Expected, download
from hyper_bids.weights.published import PUBLISHED, Published, published_as
from hyper_bids.workflow.models import fetch_file, inspect_file, list_published, verify_file

CONTENT = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def weights(tmp_path) -> Path:
    return files.write_mxnet(tmp_path / "generator.params", files.mxnet_names(files.random_arrays(), "child"))


# ------------------------------------------------------------------ list


def test_the_table_says_everything_of_every_file(capsys):
    assert tools(["models", "list"]) == 0
    said = capsys.readouterr().out
    for item in PUBLISHED:
        assert all(part in said for part in (item.key, item.file, item.size, item.licence, item.page, item.checksum))
    assert len(list_published()) >= 7 * len(PUBLISHED)


def test_the_table_is_consistent():
    assert len({item.key for item in PUBLISHED}) == len(PUBLISHED) == len({item.file for item in PUBLISHED})
    for item in PUBLISHED:
        assert re.fullmatch(r"[a-z0-9-]+", item.key) and item.page.startswith("https://")
        assert item.option in ("--generator", "--features", "--attributes")
        assert re.fullmatch(r"([0-9a-f]{64})?", item.sha256)
        assert re.fullmatch(r"[0-9a-f]*", item.sha256_start + item.sha256_end)
    assert {"pggan", "vaegan", "stylegan2"} <= {item.network for item in PUBLISHED}


def test_a_checksum_known_in_part_is_compared_in_part():
    item = Published("k", "f", "pggan", "--generator", "", "", "", "", sha256_start="ab", sha256_end="9f")
    assert item.fits("ab" + 60 * "0" + "9f") and item.fits("ac" + 60 * "0" + "9f") is False
    assert Published("k", "f", "pggan", "--generator", "", "", "", "").fits("ab") is None
    assert published_as(Path("somewhere/vaegan_celeba.ckpt")).key == "vaegan-celeba"


# ------------------------------------------------------------------ inspect, verify, convert


def test_inspect_says_what_a_file_is(weights, capsys):
    assert tools(["models", "inspect", str(weights), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["Network"] == "pggan" and found["Latents"] == 7 and found["Resolution"] == 32
    assert found["SHA256"] == hashlib.sha256(weights.read_bytes()).hexdigest() and found["Types"] == ["float32"]
    assert "MXNet" in found["Layout"] and "not its size" in found["Published"]
    assert found["Parameters"] == sum(t.numel() for t in PGGANGenerator.load(weights).network.parameters())
    assert tools(["models", "inspect", str(weights)]) == 0
    assert re.search(r"Resolution +32", capsys.readouterr().out)


def test_inspect_knows_hypers_own_files_and_says_what_others_are(tmp_path, capsys):
    faces = np.random.default_rng(3).integers(0, 256, (9, 13, 13, 3), dtype=np.uint8)
    assert inspect_file(Eigenface.fit(faces, 5, size=13).save(tmp_path / "w.npz"))["Network"] == "eigenface"
    network = files.tensorflow_network({"FromRGB_lod0/weight": np.zeros((1, 1, 3, 4), np.float32)}, "D_paper")
    path = files.write_pickle(tmp_path / "d.pkl", network)
    assert tools(["models", "inspect", str(path)]) == 65 and "discriminator" in capsys.readouterr().err
    assert tools(["models", "inspect", str(tmp_path / "none")]) == 66


def test_verify(tmp_path, weights, capsys):
    path = tmp_path / "alexnet-owt-7be5be79.pth"
    path.write_bytes(CONTENT)
    assert SHA256 in verify_file(path, sha256=SHA256.upper())
    assert tools(["models", "verify", str(path)]) == 65 and "is not alexnet-imagenet" in capsys.readouterr().err
    with pytest.raises(InconsistentInput, match="another file"):
        verify_file(path, sha256="0" * 64)
    with pytest.raises(UsageError, match="64 hexadecimal"):
        verify_file(path, sha256="abc")
    with pytest.raises(InconsistentInput, match="92288373"):  # no checksum is known of it, but its size is
        verify_file(weights)
    other = weights.rename(tmp_path / "mine")
    with pytest.raises(UsageError, match="--as"):
        verify_file(other)
    with pytest.raises(UsageError, match="Did you mean 'vaegan-celeba'"):
        verify_file(other, key="vaegan-celba")
    with pytest.raises(MissingFiles):
        verify_file(tmp_path / "none")


def test_convert_keeps_every_image(weights, tmp_path, rng, capsys):
    out = tmp_path / "new" / "w.safetensors"
    assert tools(["models", "convert", str(weights), "--out", str(out)]) == 0
    z = rng.standard_normal((2, 7))
    assert np.array_equal(PGGANGenerator.load(out).generate(z), PGGANGenerator.load(weights).generate(z))
    assert tools(["models", "convert", str(weights), "--out", str(tmp_path / "w.pkl")]) == 64
    assert "safetensors" in capsys.readouterr().err
    assert tools(["models", "convert", str(out), "--out", str(out)]) == 64
    tree = {"netG": files.tensors(files.ganzoo_state(files.random_arrays(2)))}
    tree["avgG"], tree["config"] = files.tensors(files.ganzoo_state(files.random_arrays(3))), {}
    both = files.write_torch(tmp_path / "zoo.pth", tree)
    for member in ("netG", "avgG"):
        path = tmp_path / f"{member}.safetensors"
        assert tools(["models", "convert", str(both), "--out", str(path), "--member", member]) == 0
    assert (tmp_path / "netG.safetensors").read_bytes() != (tmp_path / "avgG.safetensors").read_bytes()


# ------------------------------------------------------------------ fetch


class Server:
    """A server on loopback that serves `CONTENT`, with faults to order; it notes what it was asked."""

    def __init__(self) -> None:
        self.cut: list[int] = []
        """Bytes after which the connection is dropped, for the requests to come."""
        self.status: list[int] = []
        self.ranges: list[str | None] = []
        self.etag: str | None = '"one"'
        self.content, self.kind, self.can_resume, self.says_length = CONTENT, "application/octet-stream", True, True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/files/w.bin?x=1"

    def answer(self, handler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        if self.status:
            handler.send_error(self.status.pop(0))
            return
        fresh = handler.headers.get("If-Range") in (None, self.etag)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.can_resume and fresh else 0
        if asked and start >= len(self.content) and fresh:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.end_headers()
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.says_length:
            handler.send_header("Content-Length", str(len(body)))
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.send_header("Content-Type", self.kind)
        handler.end_headers()
        handler.wfile.write(body[: self.cut.pop(0)] if self.cut else body)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_download_is_verified_and_leaves_nothing_beside_it(server, tmp_path):
    assert download(server.url, tmp_path / "w.bin", Expected(SHA256, len(CONTENT)), wait=0) == SHA256
    assert (tmp_path / "w.bin").read_bytes() == CONTENT and left_over(tmp_path) == ["w.bin"]


def test_a_broken_connection_is_resumed_where_it_broke(server, tmp_path):
    server.cut = [1000, 50_000, 1]
    said: list[str] = []
    assert download(server.url, tmp_path / "w.bin", wait=0, say=said.append) == SHA256
    assert server.ranges == [None, "bytes=1000-", "bytes=51000-", "bytes=51001-"]
    assert any("going on at byte 51001" in line for line in said)


def test_a_later_call_goes_on_from_what_was_kept(server, tmp_path):
    server.cut = [70_000] + [0] * 20
    with pytest.raises(MissingFiles, match=r"70000 bytes are kept in w.bin.part.*same command"):
        download(server.url, tmp_path / "w.bin", wait=0)
    assert left_over(tmp_path) == ["w.bin.part", "w.bin.part.json"] and len(server.ranges) == 1 + module.TRIES
    server.cut, server.ranges = [], []
    assert download(server.url, tmp_path / "w.bin", wait=0) == SHA256 and server.ranges == ["bytes=70000-"]


def test_a_file_that_changed_meanwhile_is_not_pieced_together(server, tmp_path):
    server.cut = [70_000] + [0] * 20
    with pytest.raises(MissingFiles):
        download(server.url, tmp_path / "w.bin", wait=0)
    server.cut, server.etag, server.content = [], '"two"', CONTENT[::-1]
    download(server.url, tmp_path / "w.bin", wait=0)
    assert (tmp_path / "w.bin").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("fault", ["no ranges", "no etag", "no length"])
def test_servers_that_cannot_resume(server, tmp_path, fault):
    server.can_resume, server.etag = fault != "no ranges", None if fault == "no etag" else '"one"'
    server.says_length = fault != "no length"
    server.cut = [] if fault == "no length" else [1000, 2000]
    assert download(server.url, tmp_path / "w.bin", wait=0) == SHA256


def test_a_part_that_is_whole_already_needs_nothing_more(server, tmp_path):
    (tmp_path / "w.bin.part").write_bytes(CONTENT)
    (tmp_path / "w.bin.part.json").write_text(json.dumps({"url": server.url, "validator": '"one"'}))
    assert download(server.url, tmp_path / "w.bin", wait=0) == SHA256 and server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_starts_again(server, tmp_path):
    (tmp_path / "w.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "w.bin.part.json").write_text(json.dumps({"url": server.url, "validator": '"one"'}))
    assert download(server.url, tmp_path / "w.bin", wait=0) == SHA256


def test_errors_that_pass_are_tried_again_and_others_are_not(server, tmp_path):
    server.status = [503, 429]
    assert download(server.url, tmp_path / "a", wait=0) == SHA256 and len(server.ranges) == 3
    server.status, server.ranges = [404], []
    with pytest.raises(MissingFiles, match=r"404.*authors' page"):
        download(server.url, tmp_path / "b", wait=0)
    assert len(server.ranges) == 1 and left_over(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("expected", "says"),
    [(Expected("0" * 64), "its SHA-256 is"), (Expected(bytes=7), "7 are expected"), (None, "web page")],
)
def test_another_file_than_expected_is_not_kept(server, tmp_path, expected, says):
    server.kind = "text/html; charset=utf-8" if expected is None else server.kind
    with pytest.raises(InconsistentInput, match=says):
        download(server.url, tmp_path / "w.bin", expected, wait=0)
    assert left_over(tmp_path) == []


def test_no_server_no_address_no_room(server, tmp_path):
    port = server.server.server_port
    with pytest.raises(UsageError, match="no http"):
        download("file:///etc/hostname", tmp_path / "w", wait=0)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputNotWritable):
        download(server.url, tmp_path / "file" / "w", wait=0)
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(MissingFiles, match="refused"):
        download(f"http://127.0.0.1:{port}/w", tmp_path / "w", wait=0)


def test_fetch_by_address_and_by_name(server, tmp_path, capsys):
    assert tools(["models", "fetch", server.url, "--out", str(tmp_path), "--sha256", SHA256]) == 0
    assert (tmp_path / "w.bin").read_bytes() == CONTENT and SHA256 in capsys.readouterr().out
    assert tools(["models", "fetch", "hyper-pggan"]) == 64
    said = capsys.readouterr().err
    assert "--url" in said and "https://" in said and "NC" in said
    assert fetch_file("hyper-pggan", tmp_path, url=server.url, wait=0) == tmp_path / "generator.params"
    before = len(server.ranges)
    assert fetch_file(server.url, tmp_path, sha256=SHA256, wait=0) == tmp_path / "w.bin"
    assert len(server.ranges) == before
    with pytest.raises(UsageError, match="exists"):
        fetch_file(server.url, tmp_path, sha256="0" * 64, wait=0)
    with pytest.raises(UsageError, match="Two addresses"):
        fetch_file(server.url, tmp_path, url=server.url)


def test_a_published_file_must_have_the_checksum_that_is_known(server, tmp_path):
    for name in ("clip-vit-l14", "alexnet-imagenet"):  # known as a whole, and in part
        with pytest.raises(InconsistentInput, match="SHA-256"):
            fetch_file(name, tmp_path, url=server.url, wait=0)
    assert left_over(tmp_path) == []


def test_every_generator_of_the_table_is_one_that_is_built_in_or_comes_as_onnx():
    wanted = {item.network for item in PUBLISHED if item.option != "--features"}
    assert wanted <= {*GENERATORS, "vaegan", "stylegan2", "onnx"}
