// One upload: a file, or the files of a folder, sent in parts; after a break it goes on with what the server has not got.

import { returned } from "/static/connection.js";
import { Refused, Unreachable, ask, isJson, read, send } from "/static/server.js";

const PART = 8 * 2 ** 20; // bytes
const SMALL_PART = 2 ** 19; // bytes, for proxies that take no more than 1 MiB, which is nginx's default
const WINDOW = 5; // s, over which the rate is counted
const BUSY_TRIES = 10; // a server may hold on to a connection that is broken already
const BUSY_PAUSE = 1000; // ms

export class Upload {
  /** files: [{ path, file }], a single one without folder, or all in one folder. report: called with the upload as it goes on. */
  constructor(files, report) {
    this.files = files;
    this.report = report;
    this.total = files.reduce((sum, { file }) => sum + file.size, 0);
    this.done = 0;
    this.broken = false;
    this.name = files[0].path.split("/")[0];
    this.stopping = new AbortController();
    this.marks = [[now(), 0]];
    this.part = PART;
  }

  /** Bytes a second of late; null while nothing can be said. */
  get rate() {
    const [time, done] = this.marks[0];
    const seconds = now() - time;
    return seconds > 0.5 && this.done > done ? (this.done - done) / seconds : null;
  }

  /** Send it all and return the paths to use for it: its own, and that of each file. Throws Refused; AbortError when stopped. */
  async send() {
    const resumed = localStorage.getItem(this.key) === this.fingerprint;
    if (!resumed) this.name = freeName(this.name, (await this.list()).map((upload) => upload.name));
    localStorage.setItem(this.key, this.fingerprint);
    for (const { path, file } of this.files) {
      const name = [this.name, ...path.split("/").slice(1)].join("/");
      await this.sendFile(name, file, resumed ? await this.offset(name, file) : 0);
    }
    localStorage.removeItem(this.key);
    const { source } = (await this.list()).find((upload) => upload.name === this.name);
    return { source, files: this.files.map(({ path }) => [source, ...path.split("/").slice(1)].join("/")) };
  }

  /** Stop, and have the server forget what came. */
  async stop() {
    this.stopping.abort();
    localStorage.removeItem(this.key);
    await send(address(this.name), { method: "DELETE" });
  }

  get key() {
    return `upload:${this.name}`;
  }

  /** What tells this upload from another one of the same name, so that no two files are mixed. */
  get fingerprint() {
    const latest = this.files.reduce((time, { file }) => Math.max(time, file.lastModified), 0);
    return `${this.files.length} ${this.total} ${latest}`;
  }

  async list() {
    return (await this.persistently(() => ask("/api/uploads", { signal: this.stopping.signal }))).uploads;
  }

  async sendFile(name, file, offset) {
    const before = this.done;
    this.advance(before + offset);
    if (file.size === 0) await this.sendPart(name, file, 0, 0);
    for (let start = offset; start < file.size; ) {
      start = await this.sendPart(name, file, start, Math.min(start + this.part, file.size));
      this.advance(before + start);
    }
  }

  /** Send bytes [start, end) of a file and return how many of it are there now, whatever there was before. */
  async sendPart(name, file, start, end) {
    const headers = { "Content-Type": "application/octet-stream" };
    if (end > start) headers["Content-Range"] = `bytes ${start}-${end - 1}/${file.size}`;
    const request = { method: "PUT", headers, body: file.slice(start, end), signal: this.stopping.signal };
    for (let tries = 1; ; tries += 1) {
      const response = await this.persistently(() => send(address(name), request));
      if (response.status === 413 && !isJson(response) && this.part > SMALL_PART) {
        this.part = SMALL_PART;
        return start;
      }
      if (response.status !== 409) return (await read(response)).offset ?? end;
      const { offset, detail } = await response.json();
      if (offset !== undefined && offset !== start) return offset;
      if (tries === BUSY_TRIES) throw new Refused(409, detail);
      await pause(BUSY_PAUSE);
    }
  }

  /** Return how many bytes of the file the server has got already. */
  async offset(name, file) {
    const request = { method: "HEAD", signal: this.stopping.signal };
    const response = await this.persistently(() => send(address(name), request));
    if (!response.ok || Number(response.headers.get("Upload-Length")) !== file.size) return 0;
    return Number(response.headers.get("Upload-Offset"));
  }

  /** Do something, again each time that the server comes back. */
  async persistently(action) {
    for (;;) {
      try {
        return await action();
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error;
      }
      this.tellBroken(true);
      await returned(this.stopping.signal);
      this.tellBroken(false);
    }
  }

  tellBroken(broken) {
    this.broken = broken;
    this.report(this);
  }

  advance(done) {
    this.done = done;
    this.marks.push([now(), done]);
    while (this.marks.length > 2 && this.marks[0][0] < now() - WINDOW) this.marks.shift();
    this.report(this);
  }
}

const now = () => performance.now() / 1000;

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/** Return where an upload is on the server. */
export const address = (name) => `/api/uploads/${name.split("/").map(encodeURIComponent).join("/")}`;

/** Return a name like this one that is not taken: `brain-2.nii.gz`. */
function freeName(name, taken) {
  const [, stem, ending] = /^(.+?)((?:\.[A-Za-z0-9]+){0,2})$/s.exec(name);
  let free = name;
  for (let number = 2; taken.includes(free); number += 1) free = `${stem}-${number}${ending}`;
  return free;
}
