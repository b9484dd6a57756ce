"""The real viewer in headless Chromium, driven and looked into."""

import io
import math
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.cli import run

_COMMAND = (sys.executable, "-m", "app.entry")
_FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
_HARMLESS = ("GPU stall due to ReadPixels", "GroupMarkerNotSet")
"""What Chromium says about drawing without a graphics card."""

_INSIDE = """
(() => {
  const errorsOf = managed => {
    const layer = managed.layer, found = [];
    if (!layer) return [managed.name + ": not made"];
    for (const source of layer.dataSources) {
      if (source.loadState?.error !== undefined) found.push(String(source.loadState.error));
      for (const message of source.messages) if (message.severity === 2) found.push(message.message);
    }
    for (const part of [layer, ...layer.renderLayers])
      for (const message of part.messages ?? []) if (message.severity === 2) found.push(message.message);
    const shader = layer.shaderError?.value ?? layer.displayState?.shaderError?.value;
    if (shader) found.push("shader: " + (shader.message ?? JSON.stringify(shader.errorMessages ?? shader)));
    return found.map(text => managed.name + ": " + text);
  };
  const text = value => {
    if (value === null || value === undefined) return null;
    if (typeof value === "object" && "value" in value && value.value !== undefined) return text(value.value);
    if (typeof value === "object" && "key" in value) return text(value.key);
    return Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value, text) : String(value);
  };
  const sliceView = () => [...viewer.display.panels].find(panel => panel.sliceView).sliceView;
  const find = name => viewer.layerManager.managedLayers.find(managed => managed.name === name);
  const sources = name => {
    const shown = sliceView().visibleLayers;
    for (const renderLayer of find(name).layer.renderLayers)
      if (shown.has(renderLayer)) return shown.get(renderLayer).allSources[0].map(scale => scale.source);
    throw new Error("no volume in layer " + name);
  };
  window.glassineTest = {
    async state() {
      if (typeof viewer === "undefined" || !viewer.chunkQueueManager) return { ready: false, problems: [] };
      const layers = viewer.layerManager.managedLayers, problems = layers.flatMap(errorsOf);
      // [state][tier][chunks, memory, memory on the GPU] of each source; tier 0 is what is in view.
      let onGpu = 0, waiting = 0, failed = 0;
      for (const counts of (await viewer.chunkQueueManager.getStatistics()).values()) {
        const inView = state => counts[state * 9];
        onGpu += inView(0); waiting += inView(2) + inView(3) + inView(4) + inView(5); failed += inView(6);
      }
      if (failed) problems.push(failed + " chunks failed");
      return { ready: viewer.isReady() && waiting === 0 && onGpu > 0, problems, layers: layers.length, onGpu };
    },
    scales: name => sources(name).map(source => ({
      url: source.parameters.url,
      offset: Array.from(source.spec.baseVoxelOffset), size: Array.from(source.spec.upperVoxelBound),
    })),
    values: (name, scale, voxels) => {
      const source = sources(name)[scale], chunkSize = source.spec.chunkDataSize;
      return Promise.all(voxels.map(voxel => {
        const grid = Float32Array.from(voxel, (v, i) => Math.floor(v / chunkSize[i]));
        const within = Uint32Array.from(voxel, (v, i) => v - grid[i] * chunkSize[i]);
        return source.fetchChunk(grid, chunk => text(chunk.getValueAt(within)), {});
      }));
    },
    meshes: name => {
      const found = [];
      for (const renderLayer of find(name).layer.renderLayers) {
        const source = renderLayer.source;
        if (!source?.fragmentSource) continue;
        for (const [key, fragment] of source.fragmentSource.chunks) {
          const slash = key.indexOf("/"), segment = key.slice(0, slash), data = fragment.meshData.vertexPositions;
          const manifest = source.chunks.get(segment).manifest;
          let level = 0, place = (v, axis) => v, count = data.length / 3, at = i => data[i];
          if (manifest) {
            // Whole numbers within a node of the octree, 16 bits each, or three of 10 bits in a word.
            const [lod, node] = key.slice(slash + 1).split(":").map(Number), packed = data instanceof Uint32Array;
            level = lod;
            const steps = packed ? 1023 : 65535;
            if (packed) { count = data.length; at = i => (data[Math.floor(i / 3)] >>> (10 * (i % 3))) & 1023; }
            place = (v, axis) => manifest.chunkGridSpatialOrigin[axis] + manifest.vertexOffsets[3 * lod + axis]
              + manifest.chunkShape[axis] * 2 ** lod * (manifest.octree[5 * node + axis] + v / steps);
          }
          const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
          for (let i = 0; i < 3 * count; ++i) {
            const length = place(at(i), i % 3);
            low[i % 3] = Math.min(low[i % 3], length); high[i % 3] = Math.max(high[i % 3], length);
          }
          const triangles = fragment.meshData.indices.length / 3, onGpu = fragment.state === 0;
          found.push({ segment, level, vertices: count, triangles, low, high, onGpu });
        }
      }
      return found;
    },
    gpuBytes: async () => {
      let bytes = 0;
      for (const counts of (await viewer.chunkQueueManager.getStatistics()).values())
        for (let tier = 0; tier < 3; ++tier) bytes += counts[3 * tier + 2];
      return bytes;
    },
    zoom: scale => { viewer.projectionScale.value = scale; },
    skeletons: name => {
      const found = new Map();
      for (const renderLayer of find(name).layer.renderLayers) {
        const source = renderLayer.base?.source;
        for (const [segment, chunk] of source?.vertexAttributes && source.chunks || []) {
          // Places, then each attribute, as they go onto the graphics card.
          const { vertexAttributes: bytes, vertexAttributeOffsets: starts, numVertices } = chunk;
          const values = (start, count) => Array.from(new Float32Array(bytes.slice(start, start + 4 * count).buffer));
          const attributes = {};
          [...source.vertexAttributes.keys()].forEach((id, i) => attributes[id] = values(starts[i + 1], numVertices));
          const places = values(0, 3 * numVertices), edges = Array.from(chunk.indices), onGpu = chunk.state === 0;
          found.set(segment, { segment, places, edges, attributes, onGpu });
        }
      }
      return [...found.values()];
    },
    properties: name => {
      const map = find(name).layer.displayState.segmentationGroupState.value.segmentPropertyMap.value;
      return map.segmentPropertyMap.inlineProperties.properties.map(one =>
        [one.id, one.type, Array.from(map.segmentPropertyMap.inlineProperties.ids, String), Array.from(one.values)]);
    },
    move: position => { viewer.position.value = Float32Array.from(position); },
    valuesAt: (name, positions) => positions.map(position =>
      text(find(name).layer.getValueAt(Float32Array.from(position), { pickedRenderLayer: null }))),
    view: () => ({
      position: Array.from(viewer.position.value),
      dimensions: viewer.coordinateSpace.value.names.map((name, i) => [name, viewer.coordinateSpace.value.scales[i]]),
      scale: viewer.crossSectionScale.value,
    }),
    panels: () => [...viewer.display.panels].filter(panel => panel.visible).map(panel => {
      const box = panel.element.getBoundingClientRect();
      return { kind: panel.sliceView ? "slice" : "3d", x: box.x, y: box.y, width: box.width, height: box.height };
    }),
    draw: () => new Promise(drawn => {
      viewer.display.scheduleRedraw();
      requestAnimationFrame(() => requestAnimationFrame(() => drawn(null)));
    }),
  };
})();
"""


@dataclass(frozen=True)
class ShownScale:
    """A scale as the viewer read it. offset, size: voxels x, y, z."""

    key: str
    offset: tuple[int, ...]
    size: tuple[int, ...]


@dataclass(frozen=True)
class ShownMesh:
    """What the viewer has of a segment's surface, all fragments that are loaded.

    levels: of detail, 0 the finest. low, high: nm of the dataset, x, y, z.
    """

    vertices: int
    triangles: int
    levels: frozenset[int]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class ShownSkeleton:
    """What the viewer has of a segment's skeleton. vertices: nm [n, 3]. edges: [m, 2]. attributes: float32 [n], by id."""

    vertices: NDArray[np.float32]
    edges: NDArray[np.int64]
    attributes: dict[str, NDArray[np.float32]]


@dataclass
class Traffic:
    """What went wrong in the page: failed requests, requests to other hosts, messages of errors."""

    failed: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class ViewerPage:
    """A page of Chromium, and what it opens; the viewer's insides are asked through its own JavaScript objects."""

    def __init__(self, context: Any) -> None:
        self.traffic = Traffic()
        context.on("console", self._console)
        context.on("weberror", lambda error: self.traffic.errors.append(f"page: {error.error}"))
        # The context's events hold the requests of workers too: the viewer fetches all chunks in one.
        context.on("request", self._request)
        context.on("response", self._response)
        context.on("requestfailed", self._request_failed)
        context.add_init_script(_INSIDE)
        self.page = context.new_page()

    def open(self, url: str) -> None:
        """Load a page; for the viewer go on with wait."""
        self.page.goto(url, wait_until="load")

    def go_on_with(self, page: Any) -> None:
        """Look at another page from now on, one that this one has opened."""
        self.page = page

    def wait(self, layers: int = 1, seconds: float = 60) -> None:
        """Wait until all that is in view is drawn. Fails the test on an error of a layer, a chunk, or at the time's end."""
        deadline, ready = time.monotonic() + seconds, 0
        state: dict[str, Any] = {}
        while ready < 2:  # two times running: the viewer adds layers while others are ready already
            state = self._ask("state")
            assert not state["problems"], state["problems"]
            assert time.monotonic() < deadline, f"not ready within {seconds} s: {state}, {self.traffic}"
            ready = ready + 1 if state["ready"] and state["layers"] == layers else 0
            self.page.wait_for_timeout(100)
        self._ask("draw")

    def assert_clean(self) -> None:
        """Fail the test if a request failed or went to another host, or if there was an error on the console."""
        assert self.traffic == Traffic(), self.traffic

    def scales(self, layer: str) -> list[ShownScale]:
        """Return the scales of a layer, in the viewer's order."""
        return [
            ShownScale(scale["url"].rstrip("/").rsplit("/", 1)[-1], _whole(scale["offset"]), _whole(scale["size"]))
            for scale in self._ask("scales", layer)
        ]

    def values(self, layer: str, scale: int, voxels: Sequence[Sequence[int]]) -> list[Any]:
        """Return, as text, what the viewer decoded at voxels counted from the scale's voxel_offset."""
        return list(self._ask("values", layer, scale, [[int(n) for n in voxel] for voxel in voxels]))

    def move(self, position: Any, layers: int = 1) -> None:
        """Put the cross on a position in the view's units and wait until that is drawn."""
        self._ask("move", np.asarray(position, float).tolist())
        self.wait(layers)

    def zoom(self, scale: float, layers: int = 1) -> None:
        """Show so many of the view's units in the height of the 3-D panel and wait until that is drawn."""
        self._ask("zoom", scale)
        self.wait(layers)

    def gpu_bytes(self) -> int:
        """Return the memory of all chunks on the graphics card, as the viewer counts it."""
        return int(self._ask("gpuBytes"))

    def values_at(self, layer: str, positions: Any) -> list[Any]:
        """Return, as text, the values that the viewer shows at positions in the view's units, of what it has loaded."""
        return list(self._ask("valuesAt", layer, np.asarray(positions, float).tolist()))

    def meshes(self, layer: str) -> dict[int, ShownMesh]:
        """Return what the viewer decoded of each segment's mesh and has on the graphics card."""
        fragments: dict[int, list[Any]] = {}
        for fragment in self._ask("meshes", layer):
            if fragment["onGpu"]:
                fragments.setdefault(int(fragment["segment"]), []).append(fragment)
        return {
            segment: ShownMesh(
                sum(part["vertices"] for part in parts),
                int(sum(part["triangles"] for part in parts)),
                frozenset(part["level"] for part in parts),
                np.min([part["low"] for part in parts], axis=0),
                np.max([part["high"] for part in parts], axis=0),
            )
            for segment, parts in fragments.items()
        }

    def skeletons(self, layer: str) -> dict[int, ShownSkeleton]:
        """Return what the viewer decoded of each segment's skeleton and has on the graphics card."""
        return {
            int(one["segment"]): ShownSkeleton(
                np.array(one["places"], np.float32).reshape(-1, 3),
                np.array(one["edges"]).reshape(-1, 2),
                {name: np.array(values, np.float32) for name, values in one["attributes"].items()},
            )
            for one in self._ask("skeletons", layer)
            if one["onGpu"]
        }

    def properties(self, layer: str) -> dict[str, dict[int, Any]]:
        """Return the segment properties that the viewer has: their values by id and segment."""
        return {name: dict(zip(map(int, ids), values, strict=True)) for name, _, ids, values in self._ask("properties", layer)}

    def view(self) -> dict[str, Any]:
        """Return position, dimensions and scale (of the slices, units a pixel) as the viewer has them."""
        return dict(self._ask("view"))

    def panels(self) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return each panel's kind ("slice" or "3d") and picture, [row, column, rgb], in reading order."""
        boxes = sorted(self._ask("panels"), key=lambda box: (box["y"], box["x"]))
        picture = self.screenshot()
        found = []
        for box in boxes:
            top, left = round(box["y"]), round(box["x"])
            found.append((box["kind"], picture[top : top + math.floor(box["height"]), left : left + math.floor(box["width"])]))
        return found

    def assert_panels_filled(self) -> None:
        """Fail the test unless each of the four panels shows voxels that are not black, on more than a few pixels."""
        panels = self.panels()
        assert [kind for kind, _ in panels] == ["slice", "slice", "3d", "slice"]
        for number, (kind, picture) in enumerate(panels):
            colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
            # What the viewer draws besides: backgrounds, and box, axes and scale bar in pure colours.
            other = np.isin(colours, (0, 255)).all(axis=1) | (colours == colours[:, :1]).all(axis=1) & (colours[:, 0] == 32)
            share = counts[~other].sum() / counts.sum()
            assert share > 0.03, f"panel {number} ({kind}): only {share:.1%} of its pixels show voxels"

    def screenshot(self, path: Path | None = None) -> NDArray[np.uint8]:
        """Return the page's picture, [row, column, rgb], also written to path."""
        from PIL import Image

        self._ask("draw") if "/v/" in self.page.url else None
        data = self.page.screenshot(path=path)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def _ask(self, function: str, *arguments: Any) -> Any:
        return self.page.evaluate(f"arguments => glassineTest.{function}(...arguments)", list(arguments))

    def _console(self, message: Any) -> None:
        if message.type == "error" or message.text.startswith("Error"):
            self.traffic.errors.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if request.url.startswith("http") and not request.url.startswith(("http://127.0.0.1:", "http://localhost:")):
            self.traffic.outside.append(request.url)

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.traffic.failed.append(f"{response.status} {response.url}")

    def _request_failed(self, request: Any) -> None:
        # The viewer cancels requests that it no longer needs, and the idle event stream ends with the page.
        if request.failure != "net::ERR_ABORTED" and "/events/" not in request.url:
            self.traffic.failed.append(f"{request.failure} {request.url}")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A running Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield running
        running.close()


@pytest.fixture
def viewer(browser: Any) -> Iterator[ViewerPage]:
    """A page of 1280 x 800 pixels."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield ViewerPage(context)
    context.close()


def _whole(numbers: Sequence[float]) -> tuple[int, ...]:
    return tuple(int(n) for n in numbers)


@pytest.fixture(scope="session")
def glassine() -> Callable[..., str]:
    """Run the command line in this process and return what it printed; a failure fails the test."""

    def called(*words: object) -> str:
        with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as said:
            status = run(list(map(str, words)))
        assert status == 0, f"{words}: {printed.getvalue()}{said.getvalue()}"
        return printed.getvalue()

    return called


@pytest.fixture(scope="session")
def started() -> Callable[..., AbstractContextManager["subprocess.Popen[str]"]]:
    """Run a command that ends with Ctrl-C while the context lasts."""
    return _started


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Find a port that nobody listens on now."""
    return _free_port


@pytest.fixture(scope="session")
def serving() -> Callable[[Path], AbstractContextManager[str]]:
    """Serve a folder with `glassine serve` on a free port while the context lasts, and give its URL."""

    @contextmanager
    def served(root: Path) -> Iterator[str]:
        root.mkdir(parents=True, exist_ok=True)
        port = _free_port()
        with _started("serve", root, "--port", port) as process:
            url = f"http://127.0.0.1:{port}"
            _wait_until_answered(f"{url}/healthz", process)
            yield url

    return served


@contextmanager
def _started(*words: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a command that ends with Ctrl-C; it must end so within seconds, with status 0."""
    process = subprocess.Popen([*_COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, f"{words}: status {process.returncode}: {output}"


def _wait_until_answered(url: str, process: "subprocess.Popen[str]") -> None:
    """Wait until a server that is being started answers."""
    for _ in range(600):
        assert process.poll() is None, f"the server ended: {process.communicate()}"
        try:
            with urllib.request.urlopen(url, timeout=20):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"no answer at {url}")


def _free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
