import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.common.metadata.MetadataJsonConverters;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.record.FileRecords;
import org.apache.kafka.image.MetadataDelta;
import org.apache.kafka.image.MetadataImage;
import org.apache.kafka.image.MetadataProvenance;
import org.apache.kafka.image.writer.ImageWriterOptions;
import org.apache.kafka.image.writer.RecordListWriter;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

/**
 * The metadata of a directory, read by Kafka: the newest snapshot and what the log has above it,
 * decoded by MetadataRecordSerde, replayed into Kafka's MetadataImage, and written as the records
 * of a snapshot, one line of JSON each.
 */
final class ImageLines {
    private ImageLines() { }

    static Object of(Path dir) throws Exception {
        var metadata = dir.resolve("__cluster_metadata-0");
        var snapshots = files(metadata, ".checkpoint");
        var logs = files(metadata, ".log");
        var image = MetadataImage.EMPTY;
        long from = 0;
        if (!snapshots.isEmpty()) {
            var newest = snapshots.get(snapshots.size() - 1);
            from = Long.parseLong(newest.getFileName().toString().split("-")[0]);
            image = replay(image, newest, -1);
        }
        long begins = Long.parseLong(logs.get(0).getFileName().toString().split("\\.")[0]);
        if (begins > from) throw new IllegalStateException("the log begins above the snapshot");
        for (Path log : logs) image = replay(image, log, from);
        var writer = new RecordListWriter();
        image.write(writer, new ImageWriterOptions.Builder(image).build());
        var lines = new ArrayList<String>();
        for (ApiMessageAndVersion record : writer.records()) lines.add(line(record));
        Collections.sort(lines);
        return java.util.Map.of("lines", lines, "snapshots", snapshots.size(), "begins", begins,
            "snapshot", from);
    }

    static List<Path> files(Path dir, String suffix) throws Exception {
        try (var found = Files.list(dir)) {
            return found.filter(path -> path.toString().endsWith(suffix)).sorted().toList();
        }
    }

    /** An image for each batch: within one delta Kafka keeps the configs of a removed topic. */
    private static MetadataImage replay(MetadataImage image, Path file, long from)
            throws Exception {
        try (var records = FileRecords.open(file.toFile(), false)) {
            for (var batch : records.batches()) {
                batch.ensureValid();
                if (batch.isControlBatch()) continue;
                var delta = new MetadataDelta.Builder().setImage(image).build();
                for (var record : batch) {
                    if (from >= 0 && record.offset() < from) continue;
                    var value = MetadataRecordSerde.INSTANCE.read(
                        new ByteBufferAccessor(record.value()), record.valueSize());
                    switch (MetadataRecordType.fromId(value.message().apiKey())) {
                        case BEGIN_TRANSACTION_RECORD, END_TRANSACTION_RECORD -> { }
                        default -> delta.replay(value.message());
                    }
                }
                image = delta.apply(MetadataProvenance.EMPTY);
            }
        }
        return image;
    }

    private static String line(ApiMessageAndVersion record) throws Exception {
        var type = MetadataRecordType.fromId(record.message().apiKey());
        var json = MetadataJsonConverters.writeJson(record.message(), record.version());
        return type + " v" + record.version() + " " + Main.JSON.writeValueAsString(
            Main.JSON.treeToValue(json, Object.class));
    }
}
