// Files that were chosen or dropped, as one upload: [{ path, file }].

/** Return what was chosen in a file input: of a folder all that is in it, of several files one folder of them. */
export function chosenFiles(input) {
  return asOne([...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
}

/** Return what was dropped: a file, a folder with all that is in it, or several of them in one folder. */
export async function droppedFiles(transfer) {
  // The entries have to be taken at once: the list is empty as soon as the event is over.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files = [...transfer.files].map((file) => ({ path: file.name, file }));
  // What does not come from a disk (a picture of another page) has no entry.
  if (entries.length === 0) return asOne(files);
  return asOne((await Promise.all(entries.map((entry) => filesOf(entry, "")))).flat());
}

/** Return the name of what was dropped for the eye. */
export const shownName = (files) => files[0].path.split("/")[0];

async function filesOf(entry, folder) {
  const path = folder + entry.name;
  if (entry.isFile) return [{ path, file: await new Promise((resolve, reject) => { entry.file(resolve, reject); }) }];
  const inside = await Promise.all((await entriesOf(entry)).map((one) => filesOf(one, `${path}/`)));
  return inside.flat();
}

/** Return all entries of a folder; a reader gives some hundred at a time, and none at the end. */
async function entriesOf(directory) {
  const reader = directory.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (some.length === 0) return all;
    all.push(...some);
  }
}

function asOne(files) {
  const kept = files.filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
  const tops = new Set(kept.map(({ path }) => path.split("/")[0]));
  const sorted = kept.sort((a, b) => a.path.localeCompare(b.path, "en", { numeric: true }));
  if (tops.size < 2) return sorted;
  const folder = commonName(sorted.map(({ file }) => file.name));
  return sorted.map(({ path, file }) => ({ path: `${folder}/${path}`, file }));
}

/** Return the beginning that names share, without what is no letter in the end: `slice` of slice_001.tif and slice_002.tif. */
function commonName(names) {
  const [first, ...others] = names;
  let length = first.length;
  for (const name of others) while (!name.startsWith(first.slice(0, length))) length -= 1;
  return first.slice(0, length).replace(/[^\p{L}]+$/u, "") || "files";
}
