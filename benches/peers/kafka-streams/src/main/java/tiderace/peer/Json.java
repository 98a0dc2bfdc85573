package tiderace.peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;

/** Reads JSON into a class that has the fields a workload uses; Jackson skips the others without making values of them. */
final class Json<T> implements Deserializer<T> {
    private static final ObjectMapper MAPPER = new ObjectMapper(
            JsonFactory.builder().enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER).build());

    private final ObjectReader reader;
    private final Runnable decoded;

    /** {@code decoded} runs after every value. */
    Json(Class<T> type, Runnable decoded) {
        this.reader = MAPPER.readerFor(type);
        this.decoded = decoded;
    }

    @Override
    public T deserialize(String topic, byte[] value) {
        if (value == null) {
            throw new SerializationException("topic `" + topic + "`: a record without a value");
        }
        try {
            T read = reader.readValue(value);
            decoded.run();
            return read;
        } catch (IOException malformed) {
            throw new SerializationException("topic `" + topic + "`: a value that cannot be read", malformed);
        }
    }
}
