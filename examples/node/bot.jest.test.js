// NODE_OPTIONS=--experimental-vm-modules npx jest bot.jest.test.js, with a checkout of smolmix-web in $SMOLMIX_CHECKOUT.
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { disconnectMixTunnel, setupMixTunnel, startLocalnet } from "smolmix-web/node";
import { greeting } from "./bot.js";

let network;

beforeAll(async () => {
  network = await startLocalnet();
  await setupMixTunnel(network.options);
}, 60_000);

afterAll(async () => {
  await disconnectMixTunnel();
  await network?.stop();
});

test("it reads a page", async () => {
  expect(await greeting("https://origin.test/json")).toBe("origin");
}, 60_000);
