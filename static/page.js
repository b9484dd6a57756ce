// The web page: its parts, started.

import { startAccess } from "/static/access.js";
import { startDatasets } from "/static/datasets.js";
import { startJobs } from "/static/jobs.js";
import { startLog } from "/static/log.js";
import { startMaking } from "/static/making.js";
import { startSelection } from "/static/selection.js";
import { mayWrite, startSession } from "/static/session.js";
import { startViews } from "/static/views.js";

await startSession();
startSelection();
startAccess();
startDatasets();
if (mayWrite()) {
  startMaking();
  startLog();
  startJobs();
}
startViews();
