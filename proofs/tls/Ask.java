// As ask.py, in Java; with -Djdk.tls.keyLimits it updates its keys often. With argv[1] each connection makes so many requests.
import java.io.*;
import java.security.cert.X509Certificate;
import javax.net.ssl.*;

public class Ask {
  static volatile boolean over = false;

  public static void main(String[] args) throws Exception {
    Thread end = new Thread(() -> {
      try { while (System.in.read() >= 0) { } } catch (IOException e) { }
      over = true;
    });
    end.setDaemon(true);
    end.start();
    SSLContext context = SSLContext.getInstance("TLSv1.3");
    context.init(null, new TrustManager[] { new X509TrustManager() {
      public void checkClientTrusted(X509Certificate[] c, String a) { }
      public void checkServerTrusted(X509Certificate[] c, String a) { }
      public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    } }, null);
    int most = args.length > 1 ? Integer.parseInt(args[1]) : Integer.MAX_VALUE;
    while (!over) {
      SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", Integer.parseInt(args[0]));
      try {
        socket.startHandshake();
        System.out.println("c");
        InputStream in = new BufferedInputStream(socket.getInputStream());
        OutputStream out = socket.getOutputStream();
        for (int made = 0; !over && made < most; made++) {
          out.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n".getBytes());
          out.flush();
          answer(in);
          System.out.println("a");
          Thread.sleep(5);
        }
        socket.close();
      } catch (IOException e) {
        System.err.println("lost " + e);
      }
    }
    System.exit(0);
  }

  static String line(InputStream in) throws IOException {
    StringBuilder text = new StringBuilder();
    for (int b = in.read(); b != '\n'; b = in.read()) {
      if (b < 0) throw new EOFException();
      if (b != '\r') text.append((char) b);
    }
    return text.toString();
  }

  static void answer(InputStream in) throws IOException {
    int length = 0;
    boolean chunked = false;
    for (String head = line(in).toLowerCase(); !head.isEmpty(); head = line(in).toLowerCase()) {
      if (head.startsWith("content-length:")) length = Integer.parseInt(head.substring(15).trim());
      if (head.startsWith("transfer-encoding:")) chunked = true;
    }
    if (!chunked) { in.readNBytes(length); return; }
    for (int size = Integer.parseInt(line(in), 16); ; size = Integer.parseInt(line(in), 16)) {
      in.readNBytes(size);
      line(in);
      if (size == 0) return;
    }
  }
}
