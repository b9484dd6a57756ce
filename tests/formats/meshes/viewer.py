"""Fragments decoded by the viewer's own decoder.

It is the WebAssembly module in the wheel `neuroglancer`, run by the node that Playwright brings.
"""

import base64
import json
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SCRIPT = """
const fs = require('fs');
const [wasm, bits, partition] = [process.argv[1], Number(process.argv[2]), process.argv[3] === 'true'];
let instance, result;
const words = (pointer, length) => Array.from(new Uint32Array(instance.exports.memory.buffer, pointer, length));
const env = {
  emscripten_notify_memory_growth() {},
  proc_exit(code) { throw new Error(`exit ${code}`); },
  neuroglancer_draco_receive_decoded_mesh(faces, vertices, indices, positions, offsets) {
    result = [words(indices, 3 * faces), words(positions, 3 * vertices), words(offsets, partition ? 9 : 2)];
  },
};
(async () => {
  const imports = {env, wasi_snapshot_preview1: env};
  instance = (await WebAssembly.instantiate(fs.readFileSync(wasm), imports)).instance;
  instance.exports._initialize();
  const answers = JSON.parse(fs.readFileSync(0)).map((text) => {
    const data = Buffer.from(text, 'base64');
    const pointer = instance.exports.malloc(data.length);
    new Uint8Array(instance.exports.memory.buffer).set(data, pointer);
    const code = instance.exports.neuroglancer_draco_decode(pointer, data.length, partition, bits, true);
    return {code, result: code === 0 ? result : null};
  });
  process.stdout.write(JSON.stringify(answers));
})();
"""


@dataclass(frozen=True)
class Decoded:
    """What the viewer has of a fragment: positions [n, 3], triangles [m, 3], and for each octant (or the whole) its triangles."""

    positions: NDArray[np.int64]
    triangles: NDArray[np.int64]
    parts: list[NDArray[np.int64]]


def decoded_by_viewer(fragments: list[bytes], bits: int, *, partition: bool) -> list[Decoded]:
    """Return what the viewer's decoder makes of fragments; an assertion fails where it refuses one."""
    arguments = [str(_package("playwright") / "driver" / "node"), "-e", _SCRIPT, "--", str(_decoder()), str(bits)]
    sent = json.dumps([base64.b64encode(data).decode() for data in fragments]).encode()
    ran = subprocess.run([*arguments, str(partition).lower()], input=sent, capture_output=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
    return [_decoded(answer) for answer in json.loads(ran.stdout)]


def _decoded(answer: dict[str, Any]) -> Decoded:
    assert answer["code"] == 0, f"the viewer refuses a fragment with code {answer['code']}"
    indices, positions, offsets = (np.array(numbers, np.int64) for numbers in answer["result"])
    triangles = indices.reshape(-1, 3)
    return Decoded(positions.reshape(-1, 3), triangles, np.split(triangles, offsets[1:-1] // 3))


@cache
def _decoder() -> Path:
    modules = (_package("neuroglancer") / "static" / "client").glob("*.wasm")
    return next(module for module in modules if b"neuroglancer_draco_decode" in module.read_bytes())


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
