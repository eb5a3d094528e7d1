import java.io.File;
import java.net.InetAddress;
import java.net.ServerSocket;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.server.datanode.DataNode;
import org.apache.hadoop.hdfs.server.namenode.NameNode;
import org.apache.hadoop.metrics2.lib.DefaultMetricsSystem;

/** Hdfs FOLDER PORT: one name node and one data node below FOLDER; the name node answers HTTP at PORT. */
class Hdfs {
  public static void main(String[] arguments) throws Exception {
    Configuration settings = new HdfsConfiguration();
    settings.set("fs.defaultFS", "hdfs://127.0.0.1:" + freePort());
    settings.set("dfs.namenode.name.dir", new File(arguments[0], "names").toURI().toString());
    settings.set("dfs.datanode.data.dir", new File(arguments[0], "data").toURI().toString());
    settings.set("dfs.namenode.http-address", "127.0.0.1:" + arguments[1]);
    for (String place : new String[] {"address", "http.address", "ipc.address"}) {
      settings.set("dfs.datanode." + place, "127.0.0.1:0");
    }
    settings.set("dfs.datanode.hostname", "127.0.0.1");
    settings.setInt("dfs.replication", 1);
    settings.setInt("dfs.ls.limit", 3);
    settings.setInt("dfs.namenode.safemode.extension", 0);
    settings.setBoolean("dfs.namenode.edits.noeditlogchannelflush", true);
    DefaultMetricsSystem.setMiniClusterMode(true); // one process formats and serves
    NameNode.format(settings);
    NameNode names = NameNode.createNameNode(new String[] {}, settings);
    DataNode data = DataNode.createDataNode(new String[] {}, settings);
    while (!data.isDatanodeFullyStarted() || names.getNamesystem().getNumLiveDataNodes() < 1) {
      Thread.sleep(100);
    }
    try (DistributedFileSystem files = new DistributedFileSystem()) {
      files.initialize(java.net.URI.create(settings.get("fs.defaultFS")), settings);
      files.mkdirs(new Path("/open"));
      files.setPermission(new Path("/open"), new FsPermission((short) 0777));
    }
    System.out.println("ready");
    Thread.currentThread().join();
  }

  private static int freePort() throws Exception {
    try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return probe.getLocalPort();
    }
  }
}
