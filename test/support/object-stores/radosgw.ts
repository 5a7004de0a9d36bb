/** Ceph with its S3 API, the radosgw: a monitor, one OSD and the gateway, all in one directory. */
import { join } from "node:path";
import { makeAuthority, makeCertificate, missingForCertificates } from "../certificates.ts";
import { until } from "../server-bed.ts";
import { createBucket } from "./s3-requests.ts";
import { freePort, runCommand, serverDirectory, spawnServer, type S3TestServer } from "./server-directory.ts";

export interface Radosgw extends S3TestServer {
  /** The same with TLS, and the PEM file of the authority that signed its certificate. */
  readonly tls: { readonly endpoint: string; readonly ca: string };
  /** Another user, who owns nothing, and may have so many objects at most. */
  addUser(name: string, mostObjects?: number): Promise<S3TestServer["credentials"]>;
  /** Kills the process that keeps the objects: requests hang then. */
  killOsd(): Promise<void>;
  /** Starts it again, and returns when it serves. With memstore everything was lost. */
  startOsd(): Promise<void>;
  /** Ends all processes; they end with this process at the latest. */
  stop(): Promise<void>;
}

/** The bucket that a server has. */
export const RADOSGW_BUCKET = "bucket";

/** Why radosgw cannot be started here, or undefined where it can. */
export function missingForRadosgw(): string | undefined {
  if (process.env["VOE_TEST_FULL"] !== "1") return "VOE_TEST_FULL=1 is not set";
  for (const command of ["radosgw", "ceph-mon", "ceph-osd"]) {
    if (Bun.which(command) === null) return `${command} is not installed (package of that name)`;
  }
  return missingForCertificates();
}

let shared: Promise<Radosgw> | undefined;

/** The radosgw of this process, with objects in memory: started by the first who asks (2 s), it ends with the process. */
export function sharedRadosgw(): Promise<Radosgw> {
  shared ??= startRadosgw("memstore");
  return shared;
}

/**
 * Starts a radosgw of one's own. `memstore` keeps objects in the memory of the OSD, at most 4 GiB, and loses them with
 * it; `bluestore` in a file of the directory, at most 8 GiB, from which a killed OSD starts again.
 */
export async function startRadosgw(store: "memstore" | "bluestore"): Promise<Radosgw> {
  const directory = await serverDirectory("ceph");
  const file = (name: string): string => join(directory, name);
  const monitorPort = await freePort();
  const port = await freePort();
  const id = crypto.randomUUID();
  await Bun.write(file("ceph.conf"), configuration(directory, id, monitorPort, store));
  await Bun.write(file("mon/.keep"), "");
  await Bun.write(file("osd/.keep"), "");
  const run = (command: string, ...words: string[]): Promise<string> =>
    runCommand([command, "-c", file("ceph.conf"), ...words]);
  const key = (name: string, ...caps: string[]): Promise<string> =>
    runCommand(["ceph-authtool", file("keyring"), "--gen-key", "-n", name, ...caps]);
  await runCommand(["ceph-authtool", "--create-keyring", file("keyring")]);
  await key("mon.", "--cap", "mon", "allow *");
  await key("client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *");
  await key("osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *");
  await key("client.rgw", "--cap", "mon", "allow rw", "--cap", "osd", "allow rwx");
  const address = `[v1:127.0.0.1:${monitorPort}]`;
  await runCommand(["monmaptool", "--create", "--fsid", id, "--addv", "a", address, file("monmap")]);
  await runCommand(["rm", file("mon/.keep"), file("osd/.keep")]);
  await run("ceph-mon", "-i", "a", "--mkfs", "--monmap", file("monmap"), "--keyring", file("keyring"), "--fsid", id);
  const start = (command: string, ...words: string[]): Bun.Subprocess =>
    spawnServer([command, "-f", "-c", file("ceph.conf"), ...words], file(`${command}.out`));
  const monitor = start("ceph-mon", "-i", "a");
  const osdId = crypto.randomUUID();
  // It waits for the monitor.
  await run("ceph", "osd", "new", osdId, "0");
  await run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osdId);
  const isUp = async (): Promise<boolean> => (await run("ceph", "osd", "stat")).includes("1 up");
  let osd: Bun.Subprocess;
  const startOsd = async (): Promise<void> => {
    osd = start("ceph-osd", "-i", "0");
    await until("the OSD is up", isUp, 30_000);
  };
  await startOsd();
  const tlsPort = await freePort();
  makeAuthority(directory, "authority");
  makeCertificate(directory, "gateway", "localhost", "authority");
  // Without tcp_nodelay every answer with a body takes 40 ms.
  const frontend =
    `beast endpoint=127.0.0.1:${port} ssl_endpoint=127.0.0.1:${tlsPort} tcp_nodelay=1 ` +
    `ssl_certificate=${file("gateway-cert.pem")} ssl_private_key=${file("gateway-key.pem")}`;
  const gateway = start("radosgw", "-n", "client.rgw", `--rgw-frontends=${frontend}`);
  const endpoint = `http://127.0.0.1:${port}`;
  const addUser: Radosgw["addUser"] = async (name, mostObjects) => {
    const credentials = { accessKeyId: `ID${name}`, secretAccessKey: `secret-of-${name}` };
    const keys = [`--access-key=${credentials.accessKeyId}`, `--secret-key=${credentials.secretAccessKey}`];
    await run("radosgw-admin", "user", "create", `--uid=${name}`, `--display-name=${name}`, ...keys);
    if (mostObjects !== undefined) {
      const quota = ["--quota-scope=user", `--uid=${name}`];
      await run("radosgw-admin", "quota", "set", ...quota, `--max-objects=${mostObjects}`);
      await run("radosgw-admin", "quota", "enable", ...quota);
    }
    return credentials;
  };
  const isServing = (): Promise<boolean> =>
    fetch(endpoint).then(
      () => true,
      () => false,
    );
  await until("the gateway serves", isServing, 60_000);
  const server: Radosgw = {
    endpoint,
    tls: { endpoint: `https://127.0.0.1:${tlsPort}`, ca: file("authority-cert.pem") },
    region: "us-east-1",
    credentials: await addUser("owner"),
    addUser,
    async killOsd() {
      osd.kill("SIGKILL");
      await osd.exited;
    },
    startOsd,
    async stop() {
      for (const child of [gateway, osd, monitor]) {
        child.kill("SIGKILL");
        await child.exited;
      }
    },
  };
  await createBucket(server, RADOSGW_BUCKET);
  return server;
}

const configuration = (directory: string, id: string, monitorPort: number, store: string): string => `[global]
fsid = ${id}
mon host = [v1:127.0.0.1:${monitorPort}]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = ${directory}/keyring
ms bind msgr2 = false
ms bind ipv4 = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
log file = ${directory}/$name.log
admin socket = ${directory}/$name.asok
pid file = ${directory}/$name.pid
run dir = ${directory}
log to stderr = false
err to stderr = true
[mon]
paxos propose interval = 0.05
paxos min wait = 0.01
mon osd min up ratio = 0
mon tick interval = 1
mon data = ${directory}/mon
mon cluster log file = ${directory}/cluster.log
mon data avail crit = 1
mon data avail warn = 2
[osd]
osd data = ${directory}/osd
osd objectstore = ${store}
memstore device bytes = 4294967296
bluestore block size = 8589934592
bluestore block create = true
osd class load list = *
osd class default list = *
osd memory target = 939524096
[client.rgw]
rgw dns name = localhost
rgw enable usage log = false
rgw thread pool size = 32
rgw data = ${directory}/rgw
rgw run sync thread = false
rgw override bucket index max shards = 1
# What was replaced or deleted frees its memory soon, and not in two hours: a full OSD lets requests hang.
rgw gc obj min wait = 5
rgw gc processor period = 5
`;
