/**
 * The API, and what programs have besides a page: `smolmix-web/node`.
 *
 * @module
 */

export * from "../page/index.js";
export { MixAgent, mixConnector } from "./agent.js";
export { MixResolver } from "./resolver.js";
export { MixSocket, connect } from "./socket.js";
export { startLocalnet } from "./localnet.js";

/** @typedef {import("./socket.js").MixConnectOptions} MixConnectOptions */
/** @typedef {import("./localnet.js").Localnet} Localnet */
/** @typedef {import("./localnet.js").LocalnetOptions} LocalnetOptions */
