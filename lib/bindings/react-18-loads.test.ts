// Loads of `useModel` by React 18.
import { REACT_VERSIONS } from "../test-support/react-roots.ts";
import { describeLoads } from "../test-support/react-loads.ts";

describeLoads(REACT_VERSIONS[1]);
