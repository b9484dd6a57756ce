// The place where a file or a folder is dropped or chosen, and the upload that is under way.

import { announce } from "/static/announcements.js";
import { bytes, duration } from "/static/amounts.js";
import { chosenFiles, droppedFiles, shownName } from "/static/dropped.js";
import { fromTemplate, setText, setTextOrHide } from "/static/elements.js";
import { Upload } from "/static/upload.js";
import { Uploads } from "/static/uploads.js";

export class Uploader {
  /** uploaded: called with { source, files }, the path of an upload and that of each of its files, when it is complete. */
  constructor(uploaded) {
    this.uploaded = uploaded;
    this.upload = null;
    this.element = fromTemplate("uploader");
    this.before = new Uploads();
    this.element.append(this.before.element);
    this.connectButtons();
    this.connectDropping();
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  connectButtons() {
    for (const kind of ["file", "folder"]) {
      const input = this.part(`input.${kind}`);
      this.part(`button.${kind}`).addEventListener("click", () => input.click());
      input.addEventListener("change", () => {
        this.begin(chosenFiles(input));
        input.value = "";
      });
    }
    this.part("button.stop").addEventListener("click", () => this.stop());
  }

  connectDropping() {
    const mark = (over) => this.element.classList.toggle("over", over);
    this.element.addEventListener("dragover", (event) => { event.preventDefault(); mark(true); });
    this.element.addEventListener("dragleave", () => mark(false));
    this.element.addEventListener("drop", async (event) => {
      event.preventDefault();
      mark(false);
      this.begin(await droppedFiles(event.dataTransfer));
    });
  }

  async begin(files) {
    if (files.length === 0 || this.upload) return;
    this.upload = new Upload(files, () => this.show());
    this.showUnderWay(true);
    announce(`${shownName(files)} is uploaded.`);
    try {
      this.uploaded(await this.upload.send());
      announce(`${this.upload.name} is here.`);
    } catch (error) {
      if (error.name !== "AbortError") this.tell(`${shownName(files)} could not be uploaded: ${error.message}`);
    }
    this.upload = null;
    this.showUnderWay(false);
    if (this.before.element.open) this.before.load();
  }

  stop() {
    this.upload?.stop();
    announce("The upload is stopped.");
  }

  tell(sentence) {
    setTextOrHide(this.part(".error"), sentence);
    if (sentence) announce(sentence);
  }

  showUnderWay(underWay) {
    const hadFocus = this.element.contains(document.activeElement);
    this.part(".choosing").hidden = underWay;
    this.part(".sending").hidden = !underWay;
    if (underWay) this.tell("");
    if (hadFocus) this.part(underWay ? "button.stop" : "button.file").focus();
    if (underWay) this.show();
  }

  show() {
    const { name, done, total, rate, broken } = this.upload;
    const progress = this.part("progress");
    progress.max = Math.max(total, 1);
    progress.value = done;
    setText(this.part(".name"), name);
    const left = rate ? `, ${bytes(rate)}/s, ${duration((total - done) / rate)} left` : "";
    setText(this.part(".amount"), broken ? "waits for the server" : `${bytes(done)} of ${bytes(total)}${left}`);
  }
}
