// The applications that `npm run apps` runs: unmodified, from npm, each at the version that is named here.
//
// node       the version of Node that it runs on (its engines)
// bin        the script that its package starts, below node_modules
// prepare    makes the files that it serves, in its own folder, before the first start
// args       its arguments; `ports` are free ports, one for each entry of `speaks`
// speaks     what each port speaks: http, smtp, mqtt, ftp or tcp; clients use them all the time
// request    what its HTTP clients ask for (default: /)
// clients    strict HTTP clients by kind (default: CLIENTS)
// webSockets the path at which it takes WebSockets
// env        variables to set
// known      what cannot be 0: `remark` says why, and moult must have said `said` in its log at the start
import { APIS } from './catalogue/apis.mjs';
import { CLOUD_SERVICES } from './catalogue/cloud-services.mjs';
import { DEVELOPMENT_SERVERS } from './catalogue/development-servers.mjs';
import { FILE_SERVERS } from './catalogue/file-servers.mjs';
import { MESSAGE_SERVERS } from './catalogue/message-servers.mjs';
import { WHOLE_APPLICATIONS } from './catalogue/whole-applications.mjs';

const CLIENTS = { 'kept-alive': 30, pipelined: 5, 'slow-body': 0, 'new-connection': 5 };

export const CATALOGUE = [
  ...FILE_SERVERS,
  ...DEVELOPMENT_SERVERS,
  ...APIS,
  ...CLOUD_SERVICES,
  ...MESSAGE_SERVERS,
  ...WHOLE_APPLICATIONS,
].map((app) => ({
  node: 20,
  prepare: () => {},
  env: () => ({}),
  speaks: ['http'],
  request: '/',
  clients: CLIENTS,
  ...app,
}));
