// Added to the viewer's page: while a dataset is being written, what the viewer has loaded of it is asked for again now and then.
//
// The viewer keeps a chunk that it has, and gives one up that it could not get. Of a dataset that is not all there yet its info
// has a member `preview`, which grows with what is written and is gone at the end: each time the chunks are asked for anew.

const SECONDS = 3;
const FIRST_SECONDS = 0.25; // so long as layers are being opened: what the viewer is told at first has to be known here too
const generations = new Map(); // URL of a dataset -> what its info said last; undefined: it is all there

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

function datasets() {
  const found = new Set();
  for (const managed of globalThis.viewer?.layerManager?.managedLayers ?? []) {
    for (const source of managed.layer?.dataSources ?? []) {
      const url = /https?:\/\/[^|#?]*/.exec(source.spec?.url ?? "")?.[0].replace(/\/$/, "");
      if (url !== undefined && new URL(url).origin === location.origin) found.add(url);
    }
  }
  return found;
}

async function generation(url) {
  const answer = await fetch(`${url}/info`, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return (await answer.json()).preview;
}

// The finest scale first: what the viewer lacks of a scale it draws from the coarser ones, so that nothing goes black meanwhile.
async function askAnew(url) {
  const statistics = await viewer.chunkQueueManager.getStatistics();
  const voxels = (source) => source.spec.upperVoxelBound.reduce((product, extent) => product * extent, 1);
  const isScale = (source) => source.parameters?.url?.startsWith(`${url}/`) && source.spec?.upperVoxelBound !== undefined;
  const scales = [...statistics.keys()].filter(isScale);
  for (const source of scales.sort((a, b) => voxels(b) - voxels(a))) {
    source.invalidateCache();
    await pause(1);
  }
}

async function look(url) {
  if (generations.has(url) && generations.get(url) === undefined) return;
  const now = await generation(url);
  const before = generations.get(url);
  if (before !== undefined && before !== now) await askAnew(url);
  generations.set(url, now);
}

async function lookAtAll() {
  for (const url of datasets()) {
    // A server that is away, or a dataset that nobody is writing any more, is looked at again.
    await look(url).catch(() => {});
  }
  await pause(performance.now() < 10_000 ? FIRST_SECONDS : SECONDS);
  lookAtAll();
}

lookAtAll();
