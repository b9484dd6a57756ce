// The web page: its parts, started.

import { startDatasets } from "/static/datasets.js";
import { startJobs } from "/static/jobs.js";
import { startLog } from "/static/log.js";
import { startMaking } from "/static/making.js";
import { startSelection } from "/static/selection.js";
import { startViews } from "/static/views.js";

startSelection();
startDatasets();
startMaking();
startLog();
startJobs();
startViews();
