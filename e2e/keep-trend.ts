// `npm run trend`: adds the latest run of `npm test` in this checkout, its suites' times and the sizes of what ships, to
// e2e/results/suites.jsonl, to be committed with what lands.
import { addToTrend, COMMITTED_TREND, LOCAL_TREND, readTrend } from "./support/trend.ts";

const [row] = readTrend(LOCAL_TREND).slice(-1);
if (row === undefined) throw new Error(`${LOCAL_TREND} has no run: npm test`);
if (readTrend(COMMITTED_TREND).some((x) => x.at === row.at)) console.log(`Already kept: ${row.at}`);
else {
  addToTrend(COMMITTED_TREND, row);
  console.log(`Kept ${row.at}, commit ${row.commit}, in ${COMMITTED_TREND}`);
}
