import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel
import numpy as np
import pytest

from app import demo
from app.demo import BRAIN, TISSUES, CheckError, check_served, tissue_labels, write_sources
from converters.errors import OptionError
from converters.options import ConvertOptions
from converters.volumes.conversion import convert


def test_the_more_probable_tissue_is_the_label():
    grey = np.array([0, 0.6, 0.4, 0.5, 0.9, 0.51, 0.7], np.float32)
    white = np.array([0, 0.3, 0.6, 0.5, 0.95, 0.5, 0.7], np.float32)
    assert tissue_labels(grey, white).tolist() == [0, 1, 2, 0, 2, 1, 1]


def test_the_sources_are_nilearns_brain_without_loss_and_its_tissues(tmp_path: Path):
    from nilearn import datasets

    paths = write_sources(tmp_path / "sources")
    assert set(paths) == {BRAIN, TISSUES}
    assert sorted(tmp_path.rglob("*.nii.gz")) == sorted(paths.values()), "nothing half written stays"
    brain, template = nibabel.load(paths[BRAIN]), datasets.load_mni152_template(resolution=1)
    np.testing.assert_allclose(brain.get_fdata() / 255, template.get_fdata(), atol=1e-7)
    np.testing.assert_array_equal(brain.affine, template.affine)
    assert brain.header.get_xyzt_units()[0] == "mm"
    tissues = nibabel.load(paths[TISSUES])
    assert tissues.header.get_intent()[0] == "label"
    assert np.unique(tissues.dataobj).tolist() == [0, 1, 2]
    before = {path: path.stat().st_mtime_ns for path in paths.values()}
    write_sources(tmp_path / "sources")
    assert {path: path.stat().st_mtime_ns for path in paths.values()} == before, "the datasets made from them stay valid"


def test_without_nilearn_one_sentence_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(OptionError, match=r"pip install 'glassine\[demo\]'$"):
        write_sources(tmp_path)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A flat dataset of 2 x 2 x 2 chunks and a scale of one chunk, below /data/ of a plain file server."""
    np.save(tmp_path / "stack.npy", np.random.default_rng(0).integers(0, 255, (30, 20, 20), np.uint8))
    options = ConvertOptions(axes="xyz", resolution=(8, 8, 8), chunk_size=(16, 16, 16), layout="flat", executor="serial")
    convert(tmp_path / "stack.npy", tmp_path / "data" / "stack one", options, lambda progress: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path / "data" / "stack one", f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_every_scale_is_asked_for_as_the_viewer_does(served: tuple[Path, str]):
    _, url = served
    assert check_served(url + "/", ["stack one"]) == 2 + 1


def test_a_chunk_that_is_missing_or_cut_is_told(served: tuple[Path, str]):
    dataset, url = served
    chunk = dataset / "8_8_8" / "16-30_16-20_16-20"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(CheckError, match=r"8_8_8/16-30_16-20_16-20: answered, but not with the chunk: "):
        check_served(url, ["stack one"])
    chunk.unlink()
    with pytest.raises(CheckError, match=r"/data/stack%20one/8_8_8/16-30_16-20_16-20: not answered \(.*\)$"):
        check_served(url, ["stack one"])


def test_no_server_is_told():
    with pytest.raises(CheckError, match=r"^http://127.0.0.1:1/data/a/info: not answered \(.*refused\)$"):
        demo.check_served("http://127.0.0.1:1", ["a"])
