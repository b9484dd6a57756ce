// Added to the viewer's page: while a dataset is being written, what the viewer has loaded of it is asked for again now and then.
//
// The viewer keeps a chunk that it has, and gives one up that it could not get. Of a dataset that is not all there yet its info
// has a member `preview`, which grows with what is written and is gone at the end: each time the chunks are asked for anew.

const SECONDS = 3;
const generations = new Map(); // URL of a dataset -> what its info said last; undefined: it is all there

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

async function askAnew(url) {
  const statistics = await viewer.chunkQueueManager.getStatistics();
  for (const source of statistics.keys()) {
    if (source.parameters?.url?.startsWith(`${url}/`)) source.invalidateCache();
  }
}

async function look(url) {
  if (generations.has(url) && generations.get(url) === undefined) return;
  const now = await generation(url);
  if (generations.has(url) && generations.get(url) !== now) await askAnew(url);
  generations.set(url, now);
}

async function lookAtAll() {
  for (const url of datasets()) {
    // A server that is away, or a dataset that nobody is writing any more, is looked at again.
    await look(url).catch(() => {});
  }
  setTimeout(lookAtAll, 1000 * SECONDS);
}

lookAtAll();
