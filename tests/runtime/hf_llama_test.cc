#include "runtime/io/hf_llama.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace annulus::runtime {
namespace {

using testing::ElementsAre;

constexpr HfLlamaConfig kTiny = {.hidden_size = 24,
                                 .intermediate_size = 40,
                                 .num_hidden_layers = 2,
                                 .num_attention_heads = 4,
                                 .num_key_value_heads = 2,
                                 .head_dim = 8,
                                 .vocab_size = 256,
                                 .max_position_embeddings = 8192,
                                 .rope_theta = 5e5,
                                 .rms_norm_eps = 1e-6,
                                 .initializer_range = 0.2,
                                 .tie_word_embeddings = false};

TEST(HfLlamaTest, ConfigHoldsEverySize) {
  const auto json = nlohmann::json::parse(HfLlamaConfigJson(kTiny));
  EXPECT_EQ(json["architectures"], nlohmann::json::array({"LlamaForCausalLM"}));
  EXPECT_EQ(json["model_type"], "llama");
  EXPECT_EQ(json["hidden_size"], 24);
  EXPECT_EQ(json["intermediate_size"], 40);
  EXPECT_EQ(json["num_hidden_layers"], 2);
  EXPECT_EQ(json["num_attention_heads"], 4);
  EXPECT_EQ(json["num_key_value_heads"], 2);
  EXPECT_EQ(json["head_dim"], 8);
  EXPECT_EQ(json["vocab_size"], 256);
  EXPECT_EQ(json["max_position_embeddings"], 8192);
  EXPECT_EQ(json["rope_theta"], 5e5);
  EXPECT_EQ(json["rope_parameters"]["rope_theta"], 5e5);
  EXPECT_EQ(json["rms_norm_eps"], 1e-6);
  EXPECT_EQ(json["initializer_range"], 0.2);
  EXPECT_EQ(json["tie_word_embeddings"], false);
  EXPECT_EQ(json["torch_dtype"], "float32");
  EXPECT_EQ(json["hidden_act"], "silu");
  EXPECT_TRUE(json["bos_token_id"].is_null());
}

TEST(HfLlamaTest, ConfigNamesTheStoredType) {
  HfLlamaConfig config = kTiny;
  config.dtype = kernels::DType::kBF16;
  EXPECT_EQ(nlohmann::json::parse(HfLlamaConfigJson(config))["torch_dtype"], "bfloat16");
}

TEST(HfLlamaTest, ParametersBearTheirNamesAndShapes) {
  const auto parameters = HfLlamaParameters(kTiny);
  ASSERT_EQ(parameters.size(), 1U + 2 * 9 + 2);
  EXPECT_EQ(parameters[0].name, "model.embed_tokens.weight");
  EXPECT_THAT(parameters[0].shape, ElementsAre(256, 24));
  EXPECT_EQ(parameters[10].name, "model.layers.1.input_layernorm.weight");
  EXPECT_EQ(parameters[11].name, "model.layers.1.self_attn.q_proj.weight");
  EXPECT_THAT(parameters[11].shape, ElementsAre(32, 24));
  EXPECT_EQ(parameters[13].name, "model.layers.1.self_attn.v_proj.weight");
  EXPECT_THAT(parameters[13].shape, ElementsAre(16, 24));
  EXPECT_EQ(parameters[14].name, "model.layers.1.self_attn.o_proj.weight");
  EXPECT_THAT(parameters[14].shape, ElementsAre(24, 32));
  EXPECT_EQ(parameters[18].name, "model.layers.1.mlp.down_proj.weight");
  EXPECT_THAT(parameters[18].shape, ElementsAre(24, 40));
  EXPECT_EQ(parameters[19].name, "model.norm.weight");
  EXPECT_EQ(parameters[20].name, "lm_head.weight");
  std::set<std::string> names;
  for (const HfLlamaParameter& parameter : parameters) names.insert(parameter.name);
  EXPECT_EQ(names.size(), parameters.size());
}

TEST(HfLlamaTest, ATiedModelHasNoHead) {
  HfLlamaConfig tied = kTiny;
  tied.tie_word_embeddings = true;
  EXPECT_EQ(HfLlamaParameters(tied).back().name, "model.norm.weight");
  EXPECT_EQ(nlohmann::json::parse(HfLlamaConfigJson(tied))["tie_word_embeddings"], true);
}

}  // namespace
}  // namespace annulus::runtime
