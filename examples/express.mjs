// Express, in a program that knows nothing of moult. It ends as it would anywhere: at SIGTERM, which comes when
// its requests are answered and its connections have moved.
//
//   run      npx moult run examples/express.mjs
//   restart  npx moult restart
import express from 'express';

const app = express();
app.use(express.json());
app.get('/', (_request, response) => response.send(`hello from process ${process.pid}\n`));
app.post('/', (request, response) => response.json({ received: request.body ?? null }));

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log(`process ${process.pid} listens`);
});

process.on('SIGTERM', () => server.close(() => process.exit(0)));
