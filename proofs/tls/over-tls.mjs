// Loaded before a service that knows nothing of it (`node --import`): its HTTP servers speak TLS, with the key.pem and
// cert.pem of the folder that CERTIFICATE names.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

const read = (file) => readFileSync(path.join(process.env.CERTIFICATE, file));
const certificate = { key: read('key.pem'), cert: read('cert.pem') };

http.createServer = (...args) => https.createServer(certificate, args.at(-1));
syncBuiltinESMExports();
