// NestJS, in a program that knows nothing of moult. Its shutdown hooks run at SIGTERM, which comes when its
// requests are answered and its connections have moved. (Plain JavaScript, so the decorators are called by hand.)
//
//   run      npx moult run examples/nest.mjs
//   restart  npx moult restart
import 'reflect-metadata';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

class HelloController {
  hello() {
    return `hello from process ${process.pid}\n`;
  }
}
Controller()(HelloController);
const method = Object.getOwnPropertyDescriptor(HelloController.prototype, 'hello');
Get()(HelloController.prototype, 'hello', method);

class AppModule {
  onApplicationShutdown(signal) {
    console.log(`process ${process.pid} ends at ${signal}`);
  }
}
Module({ controllers: [HelloController] })(AppModule);

const app = await NestFactory.create(AppModule, { logger: ['error'] });
app.enableShutdownHooks();
await app.listen(Number(process.env.PORT ?? 3000));
